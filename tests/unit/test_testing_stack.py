"""Which servers a test session uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventsource.errors import SettingsError
from eventsource.testing.stack import SessionStack, configured_stack, session_stack

KAFKA = "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"
POSTGRES = "EVENTSOURCE_POSTGRES__URL"


class FakeEmbedded:
    bootstrap_servers = "127.0.0.1:1"
    postgres_url = "postgresql://u:secret@127.0.0.1:2/d"
    stores_dir = Path("/data/stores")
    is_running = False

    def __enter__(self) -> FakeEmbedded:
        self.is_running = True
        return self

    def __exit__(self, *exc: object) -> None:
        self.is_running = False


def test_servers_that_are_named_are_used_and_none_is_started() -> None:
    environment = {KAFKA: "kafka:9092", POSTGRES: "postgresql+psycopg://u@db/x"}
    with session_stack(environment, embedded=lambda: pytest.fail("started")) as stack:
        assert stack == SessionStack("kafka:9092", "postgresql://u@db/x")


@pytest.mark.parametrize(("given", "missing"), [(KAFKA, POSTGRES), (POSTGRES, KAFKA)])
def test_naming_one_of_the_two_servers_is_an_error(given: str, missing: str) -> None:
    with pytest.raises(SettingsError, match=missing):
        configured_stack({given: "x"})


def test_an_embedded_stack_runs_for_as_long_as_the_session() -> None:
    fake = FakeEmbedded()
    with session_stack({}, embedded=lambda: fake) as stack:
        assert fake.is_running
        assert stack.environment == {
            KAFKA: fake.bootstrap_servers,
            POSTGRES: fake.postgres_url,
            "EVENTSOURCE_WORKER__STATE_DIR": "/data/stores",
        }
        assert "secret" not in repr(stack)
    assert not fake.is_running
