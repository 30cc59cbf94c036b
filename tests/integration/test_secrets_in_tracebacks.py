"""No password in a traceback that shows locals: of Python, of rich, or of pytest. No server is there to be reached."""

from __future__ import annotations

import copy
import io
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.traceback import Traceback

from eventsource.consuming.database import connect
from eventsource.errors import EventSourceError
from eventsource.log.admin import LogAdmin
from eventsource.log.client_config import consumer_config, producer_config
from eventsource.log.committed import committed_offsets
from eventsource.log.reader import LogReader
from eventsource.log.topics import plan
from eventsource.log.transactions import PartitionWriter
from eventsource.redaction import REDACTED, RedactedText, redacted_setting
from eventsource.schemas import KafkaSchemaStore, MessageCodec
from eventsource.settings import KafkaSettings, PostgresSettings, Settings
from examples.bank import Deposit, bank

SECRET = "hunter2" * 20  # longer than any tool shows of a text


def settings(**client: str) -> Settings:
    given = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "ada", **client}
    return Settings(
        _env_file=None,
        kafka=KafkaSettings(
            bootstrap_servers="127.0.0.1:1",
            client={**given, "sasl.password": SECRET, "ssl.key.password": SECRET},
            request_timeout_seconds=1,
        ),
        postgres=PostgresSettings(url=f"postgresql://ada:{SECRET}@127.0.0.1:1/db", connect_timeout_seconds=1),
    )


SETTINGS = settings()
WRONG = settings(**{"sasl.pasword": "wrong"})


def read(given: Settings) -> None:
    LogReader({**given.kafka.client_config(), "sasl.mechanism": "none"})


def fence(given: Settings) -> None:
    PartitionWriter(given.kafka.client_config(), ["one", "two"], transaction_timeout_seconds=1.1).fence()


def register(given: Settings) -> None:
    with KafkaSchemaStore("schemas", given.kafka.client_config(), request_timeout_seconds=1) as store:
        MessageCodec(Deposit, "deposit", store).register()


def ask(given: Settings) -> None:
    committed_offsets(given.kafka.client_config(), "group", [("topic", 0)], timeout_seconds=1)


FAILING: dict[str, Callable[[], object]] = {
    "connect": lambda: bank.connect(SETTINGS),
    "topics": lambda: plan(bank, SETTINGS),
    "admin": lambda: LogAdmin(SETTINGS.kafka.client_config(), request_timeout_seconds=1).broker_ids(),
    "wrong setting of a client": lambda: bank.connect(WRONG),
    "wrong setting of a reader": lambda: read(SETTINGS),
    "writer": lambda: fence(SETTINGS),
    "schemas": lambda: register(SETTINGS),
    "offsets": lambda: ask(SETTINGS),
    "postgres": lambda: connect(SETTINGS.postgres, "tests"),
}


@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
def test_no_traceback_with_locals_shows_a_password(failing: Callable[[], object]) -> None:
    with pytest.raises(EventSourceError) as caught:
        failing()
    error = caught.value
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    console = Console(file=io.StringIO(), width=400)
    console.print(Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True))
    output: Any = console.file
    by_pytest = str(caught.getrepr(showlocals=True, truncate_locals=False, chain=True))
    for text in (shown, output.getvalue(), by_pytest):
        assert "hunter2" not in text.replace('"hunter2" * 20', "")
    assert " = " in shown  # there are locals to be seen


def test_no_repr_shows_a_password() -> None:
    kafka, postgres = SETTINGS.kafka, SETTINGS.postgres
    shown = [
        *(repr(each) for each in (SETTINGS, kafka, kafka.client, kafka.client_config(), postgres, postgres.url)),
        repr({**kafka.client_config()}),
        repr(producer_config(kafka.client_config())),
        repr(consumer_config(kafka.client_config(), "group")),
        repr(list(kafka.client.values())),
        repr(copy.deepcopy(kafka.client)),
        repr(pickle.loads(pickle.dumps(SETTINGS)).kafka.client_config()),
        repr(SETTINGS.model_copy(update={"namespace": "x"}).kafka.client),
        repr(kafka.client["sasl.password"][:80]),
    ]
    for text in shown:
        assert "hunter2" not in text
        assert REDACTED in text


def test_a_redacted_text_is_the_text_to_whatever_uses_it(tmp_path: Path) -> None:
    secret = RedactedText("hunter2")
    assert (secret, f"{secret}", str(secret), secret.encode(), hash(secret)) == (
        *("hunter2",) * 3,
        b"hunter2",
        hash("hunter2"),
    )
    assert {"hunter2": 1}[secret] == 1
    (tmp_path / "file").write_text(secret)
    assert (tmp_path / "file").read_text() == "hunter2"


def test_only_what_is_secret_is_hidden() -> None:
    assert repr(redacted_setting("sasl.username", "ada")) == "'ada'"
    url = redacted_setting("sasl.oauthbearer.token.endpoint.url", "https://me:hunter2@idp.example/token")
    assert repr(url) == f"'https://me:{REDACTED}@idp.example/token'"
    assert url.endswith("hunter2@idp.example/token")
