"""The pytest plugin: real servers for a session, a namespace for a test.

Every pytest run on a machine with this package loads it, so it imports nothing heavy until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from eventsource.testing.stack import SessionStack


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
