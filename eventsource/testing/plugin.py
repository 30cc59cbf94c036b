"""The pytest plugin: real servers for a session; a namespace, settings and running apps for a test.

Every pytest run on a machine with this package loads it, so it imports nothing heavy until a fixture is used.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from eventsource.settings import Settings
    from eventsource.testing.running import ClientFactory
    from eventsource.testing.stack import SessionStack

_TRACEBACKS: Final = "eventsource_tracebacks"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(_TRACEBACKS, "short: without the framework's own frames; full: with them", default="short")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows a failure at the lines of the test and of the domain, without the framework's frames between them."""
    if (
        call.excinfo is not None
        and "eventsource.errors" in sys.modules
        and item.config.getini(_TRACEBACKS) == "short"
        and not item.config.getoption("fulltrace")
    ):
        from eventsource.testing.tracebacks import trim_causes, trimmed

        kept = trimmed(call.excinfo.value)
        if kept is not None:
            call.excinfo.traceback = pytest.ExceptionInfo.from_exc_info(
                (call.excinfo.type, call.excinfo.value, kept)
            ).traceback
        trim_causes(call.excinfo.value)
    return (yield)


@pytest.fixture(scope="session")
def eventsource_stack() -> Iterator[SessionStack]:
    """A real Kafka and a real Postgres for the whole session: `.bootstrap_servers`, `.postgres_url`, `.environment`.

    An ephemeral embedded stack, or your own servers if EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS and EVENTSOURCE_POSTGRES__URL
    are both set.
    """
    import os

    from eventsource.testing.stack import session_stack

    with session_stack(os.environ) as stack:
        yield stack


@pytest.fixture
def eventsource_namespace(eventsource_stack: SessionStack) -> Iterator[str]:
    """A fresh namespace such as `t-1a2b3c4d`; afterwards its topics, consumer groups, Postgres schemas and state stores are deleted."""
    import uuid

    from eventsource.commands.state_folder import default_state_dir
    from eventsource.settings import load_settings
    from eventsource.testing.namespace import new_namespace, remove_namespace, remove_stores

    namespace = new_namespace(uuid.uuid4().hex)
    yield namespace
    remove_namespace(
        namespace,
        bootstrap_servers=eventsource_stack.bootstrap_servers,
        postgres_url=eventsource_stack.postgres_url,
    )
    remove_stores(namespace, load_settings().worker.state_dir or default_state_dir())


@pytest.fixture
def eventsource_settings(eventsource_stack: SessionStack, eventsource_namespace: str) -> Settings:
    """Settings that name the session's servers and the test's namespace."""
    from eventsource.testing.running import settings_of

    return settings_of(eventsource_stack, eventsource_namespace)


@pytest.fixture
def eventsource_client(eventsource_settings: Settings) -> Iterator[ClientFactory]:
    """`eventsource_client(app)` is a client of an app that runs: topics are made and a worker is ready. All of it ends with the test.

    A worker that cannot start fails the test at once, with its error; one that fails later fails it at its end.
    """
    from eventsource.testing.running import ClientFactory

    factory = ClientFactory(eventsource_settings)
    yield factory
    factory.close()
