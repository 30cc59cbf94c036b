"""A worker refuses to start on an event class that cannot read its history; a command finds it before, with and without a broker."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventsource import App, Settings
from eventsource.cli.main import main
from eventsource.errors import DefinitionError
from eventsource.log.topics import apply
from eventsource.schemas import KafkaSchemaStore
from eventsource.schemas.recorded_schemas import todays_events
from eventsource.settings import KafkaSettings
from eventsource.testing.stack import SessionStack
from eventsource.worker import Worker
from tests.evolutions import BREAKING, COMPATIBLE, Colour, Evolution, notebook

PATIENCE_SECONDS = 30.0
REFUSED_SECONDS = 10.0


@pytest.fixture
def settings(eventsource_stack: SessionStack, eventsource_namespace: str) -> Settings:
    """Settings of a log that has events of the first release."""
    kafka = KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers)
    settings = Settings(_env_file=None, namespace=eventsource_namespace, kafka=kafka)  # type: ignore[call-arg]
    apply(app_of(Evolution()), settings)
    names = app_of(Evolution()).names(settings.namespace)
    with KafkaSchemaStore(names.schemas, settings.kafka.client_config()) as store:
        for schema in todays_events({"notebook": notebook()}):
            store.register(schema)
    return settings


def app_of(change: Evolution) -> App:
    return App("history", aggregates=[notebook(change)], partitions=1)


def run_until_ready(app: App, settings: Settings, **options: Any) -> None:
    worker = Worker(app, settings, **options)
    timer = threading.Timer(PATIENCE_SECONDS, worker.stop)
    timer.start()
    ready: list[bool] = []

    def stop() -> None:
        ready.append(True)
        worker.stop()

    try:
        worker.run(on_ready=stop)
    finally:
        timer.cancel()
    assert ready


@pytest.mark.parametrize("change", BREAKING.values(), ids=BREAKING.keys())
def test_a_worker_refuses_to_start_on_an_event_class_that_cannot_read_its_history(
    settings: Settings, change: Evolution
) -> None:
    began = time.monotonic()
    with pytest.raises(DefinitionError, match=r"event 'noted' of notebook.*rule unreadable-history") as refused:
        run_until_ready(app_of(change), settings)
    assert f"noted.{change.says}" in str(refused.value)
    assert time.monotonic() - began < REFUSED_SECONDS


@pytest.mark.parametrize("change", COMPATIBLE.values(), ids=COMPATIBLE.keys())
def test_a_worker_starts_on_a_compatible_one(settings: Settings, change: Evolution) -> None:
    run_until_ready(app_of(change), settings)


def test_a_risk_that_is_accepted_lets_it_start(settings: Settings) -> None:
    run_until_ready(app_of(BREAKING["a type changed"]), settings, accepted_risks=["unreadable-history"])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Any]:
    """Writes `release.py` with an app, and forgets the one of before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("EVENTSOURCE_NAMESPACE", settings.namespace or "")
    monkeypatch.setenv("EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS", settings.kafka.bootstrap_servers)

    def write(table: str, key: str) -> None:
        sys.modules.pop("release", None)
        Path("release.py").write_text(
            "from eventsource import App\n"
            f"from tests.evolutions import {table}, notebook\n"
            f"app = App('history', aggregates=[notebook({table}[{key!r}])], partitions=1)\n"
        )

    yield write
    sys.modules.pop("release", None)


@pytest.mark.parametrize("source", ["broker", "file"])
def test_schemas_check_finds_it_before_it_is_deployed(
    module: Any, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [] if source == "broker" else ["--file", "schemas.json"]
    module("COMPATIBLE", "nothing changed")
    assert main(["schemas", "record", "release:app", "--file", "schemas.json"]) == 0
    assert main(["schemas", "check", "release:app", *options]) == 0
    module("BREAKING", "a field added without a default")
    assert main(["schemas", "check", "release:app", *options]) == 2
    shown = capsys.readouterr()
    assert "noted.added: it was written before" in shown.err
    assert main(["schemas", "check", "release:app", "--json", *options]) == 2
    document = json.loads(capsys.readouterr().out)
    (found,) = document["unreadable"]
    assert (found["aggregate"], found["event"]) == ("notebook", "noted")
    module("COMPATIBLE", "a field added with a default")
    assert main(["schemas", "check", "release:app", "--json", *options]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["unreadable"] == []
    assert document["unrecorded"] == (["noted"] if source == "file" else [])
    assert main(["schemas", "record", "release:app", "--registered"]) == 0
    assert len(json.loads(Path("schemas.json").read_text())["schemas"]) == 2


def noted(aggregate: Any, **changes: Any) -> Any:
    event = aggregate.__definition__.events["noted"]
    values: dict[str, Any] = {
        "count": 1,
        "text": "text",
        "note": None,
        "address": {"town": "Bern"},
        "colour": Colour["RED"],
        "price": "1.00",
        "on": "2026-01-02",
        "lines": [],
        "pair": (1, 2),
    }
    return event(**{**values, **changes})


def test_events_show_prints_what_can_be_read_and_the_raw_rest(
    module: Any, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    before = app_of(COMPATIBLE["nothing changed"])
    today = "a type narrowed"
    worker, ready = Worker(before, settings), threading.Event()
    thread = threading.Thread(target=lambda: worker.run(ready.set))
    thread.start()
    try:
        assert ready.wait(PATIENCE_SECONDS)
        notebook_then: Any = before.aggregates["notebook"]
        with before.connect(settings) as client:
            events = [noted(notebook_then, note="a"), noted(notebook_then), noted(notebook_then, note="c")]
            client.append(notebook_then, "n 1", events, expected_version=0)
    finally:
        worker.stop()
        thread.join(PATIENCE_SECONDS)
    module("BREAKING", today)
    assert main(["events", "show", "release:app", "notebook", "n 1"]) == 2
    shown = capsys.readouterr()
    assert "1 of 3 events cannot be read with today's classes" in shown.err
    assert "cannot be read:" in shown.out
    assert "note='a'" in shown.out or "note=a" in shown.out
    assert main(["events", "show", "release:app", "notebook", "n 1", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert [event["version"] for event in document["events"]] == [1, 2, 3]
    unreadable = document["events"][1]
    assert "noted.note" in unreadable["error"]
    assert bytes.fromhex(unreadable["raw"]).startswith(b"\xc3\x01")
    assert [int(value) for name, value in unreadable["headers"] if name == "ce_sequence"] == [2]
    # The advice of doctor is this very command.
    main(["doctor", "release:app", "--json"])
    assert "eventsource events show MODULE:APP notebook 'n 1'" in capsys.readouterr().out
