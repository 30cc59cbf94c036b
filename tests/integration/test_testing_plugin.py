"""The pytest plugin's fixtures."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from psycopg import sql

from eventsource.errors import EventSourceError
from eventsource.names import Names
from eventsource.testing.namespace import remove_from_kafka, remove_namespace
from eventsource.testing.stack import SessionStack


def make_everything(stack: SessionStack, names: Names) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.create_topics([NewTopic(names.meta, 1, 1)])[names.meta].result()
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": names.owners("account")})
    consumer.commit(offsets=[TopicPartition(names.meta, 0, 0)], asynchronous=False)
    consumer.close()
    with psycopg.connect(stack.postgres_url) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(names.database_schema)))
        connection.execute(sql.SQL("CREATE TABLE {}.balances (id int)").format(sql.Identifier(names.database_schema)))


def what_is_there(stack: SessionStack, names: Names) -> tuple[bool, bool, bool]:
    """Whether topic, group and schema exist."""
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    groups = {group.group_id for group in admin.list_consumer_groups().result().valid}
    with psycopg.connect(stack.postgres_url) as connection:
        schemas = {row[0] for row in connection.execute("SELECT nspname FROM pg_namespace").fetchall()}
    topics = admin.list_topics(timeout=10).topics
    return names.meta in topics, names.owners("account") in groups, names.database_schema in schemas


def test_everything_of_a_namespace_is_removed_and_nothing_of_another(
    eventsource_stack: SessionStack, eventsource_namespace: str
) -> None:
    mine, other = Names("bank", eventsource_namespace), Names("bank", f"{eventsource_namespace}-other")
    addresses = {
        "bootstrap_servers": eventsource_stack.bootstrap_servers,
        "postgres_url": eventsource_stack.postgres_url,
    }
    try:
        make_everything(eventsource_stack, mine)
        make_everything(eventsource_stack, other)
        # What a failed test leaves: a session in the middle of a transaction, holding a lock.
        with psycopg.connect(eventsource_stack.postgres_url) as forgotten:
            forgotten.execute(sql.SQL("SELECT * FROM {}.balances").format(sql.Identifier(mine.database_schema)))
            remove_namespace(eventsource_namespace, **addresses)
            forgotten.close()
        assert what_is_there(eventsource_stack, mine) == (False, False, False)
        assert what_is_there(eventsource_stack, other) == (True, True, True)
    finally:
        remove_namespace(other.namespace, **addresses)
    assert what_is_there(eventsource_stack, other) == (False, False, False)


def test_a_consumer_that_is_still_running_is_named(eventsource_stack: SessionStack, eventsource_namespace: str) -> None:
    names = Names("bank", eventsource_namespace)
    make_everything(eventsource_stack, names)
    consumer = Consumer({"bootstrap.servers": eventsource_stack.bootstrap_servers, "group.id": names.owners("account")})
    consumer.subscribe([names.meta])
    while not consumer.assignment():
        consumer.poll(0.1)
    with pytest.raises(EventSourceError, match=rf"{names.owners('account')}.*end every worker"):
        remove_from_kafka(eventsource_namespace, eventsource_stack.bootstrap_servers, timeout_seconds=0.2)
    consumer.close()


def test_loading_the_plugin_loads_no_client_of_a_server() -> None:
    code = "import eventsource.testing.plugin, sys; print(*sorted({'confluent_kafka', 'psycopg', 'psutil'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []
