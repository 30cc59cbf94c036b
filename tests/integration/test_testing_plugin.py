"""The pytest plugin's fixtures."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from psycopg import sql

from eventsource import App, Settings
from eventsource.errors import ClientClosed, EventSourceError, NotCaughtUp, ProjectionFailed, ReadModelOutdated
from eventsource.names import Names
from eventsource.testing import ClientFactory
from eventsource.testing.namespace import remove_from_kafka, remove_namespace
from eventsource.testing.stack import SessionStack
from examples.bank import Account, AccountBalance, AccountOpened, Balances, OpenAccount, bank
from projections import Projection, projects

ROOT = Path(__file__).parents[2]


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


# --- running apps ------------------------------------------------------------------------------------------------


def make_foreign_table(settings: Settings, app: App) -> None:
    """What keeps the worker of the bank from starting: a table of the projection's name that somebody else made."""
    schema = sql.Identifier(app.names(settings.namespace).database_schema)
    with psycopg.connect(settings.postgres.url) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        connection.execute(sql.SQL("CREATE TABLE {}.balances (id int)").format(schema))


def test_an_app_runs_until_the_tests_end(eventsource_settings: Settings) -> None:
    before = set(threading.enumerate())
    factory = ClientFactory(eventsource_settings)
    client = factory(bank)
    paid = client.send(Account, "7", OpenAccount())
    with client.read(Balances, at_least=paid.token) as session:
        assert session.get_one(AccountBalance, "7").balance == 0
    second = factory(bank, only=["commands"])
    assert second.send(Account, "8", OpenAccount()).version == 1
    factory.close()
    assert {thread.name for thread in set(threading.enumerate()) - before} == set()
    with pytest.raises(ClientClosed):
        client.send(Account, "9", OpenAccount())


def test_a_worker_that_cannot_start_raises_its_error_at_once(eventsource_settings: Settings) -> None:
    make_foreign_table(eventsource_settings, bank)
    factory = ClientFactory(eventsource_settings)
    began = time.monotonic()
    with pytest.raises(ReadModelOutdated, match="which no projection is recorded to have made"):
        factory(bank)
    assert time.monotonic() - began < 30, "it waited until the worker would have been ready"
    factory.close()  # raised once, not again


class Unlucky(Projection[AccountBalance], name="unlucky"):
    @projects
    def on_opened(self, event: AccountOpened, row: AccountBalance) -> None:
        raise RuntimeError("unlucky")


def test_a_worker_that_fails_later_fails_the_test_at_its_end(eventsource_settings: Settings) -> None:
    app = App("unlucky", aggregates=[Account], consumers=[Unlucky])
    factory = ClientFactory(eventsource_settings)
    client = factory(app)
    paid = client.send(Account, "7", OpenAccount())
    with pytest.raises(NotCaughtUp):
        client.wait_for(paid.token, Unlucky, 3)
    with pytest.raises(ProjectionFailed, match="unlucky"):
        factory.close()


FAILING = """
from eventsource.testing import ClientFactory
from examples.bank import bank
from tests.integration.test_testing_plugin import make_foreign_table


def test_that_fails(eventsource_settings, eventsource_client: ClientFactory) -> None:
    make_foreign_table(eventsource_settings, bank)
    client = eventsource_client(bank)
    raise AssertionError("not reached")
"""


def run_pytest(stack: SessionStack, folder: Path, test: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A user's test run, in a process of its own."""
    (folder / "test_failing.py").write_text(test)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_failing.py"],
        env={**os.environ, **stack.environment, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_failed_start_is_shown_at_the_line_of_the_test(eventsource_stack: SessionStack, tmp_path: Path) -> None:
    run = run_pytest(eventsource_stack, tmp_path, FAILING, "--show-capture=no")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "1 failed" in run.stdout
    assert ">   " in run.stdout
    assert "client = eventsource_client(bank)" in run.stdout
    assert "ReadModelOutdated: the read model of projection 'balances'" in run.stdout
    assert len(run.stdout.splitlines()) < 30, run.stdout
    assert str(ROOT) not in run.stdout, "frames of the framework"


UNLUCKY_COMMAND = """
from typing import Self
from eventsource import Aggregate, App, Command, Event, creates
from eventsource.testing import ClientFactory


class Try(Command, name="try"):
    secret: str


class Tried(Event, name="tried"):
    pass


class Attempt(Aggregate, name="attempt"):
    @creates
    @classmethod
    def attempt(cls, command: Try) -> Tried:
        raise RuntimeError("unlucky")

    @creates
    @classmethod
    def on_tried(cls, event: Tried) -> Self:
        return cls()


def test_that_fails(eventsource_client: ClientFactory) -> None:
    eventsource_client(App("tries", aggregates=[Attempt])).send(Attempt, "a", Try(secret="hunter2"))
"""


def test_a_command_that_fails_in_a_worker_is_logged_without_local_variables(
    eventsource_stack: SessionStack, tmp_path: Path
) -> None:
    run = run_pytest(eventsource_stack, tmp_path, UNLUCKY_COMMAND)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "HandlerFailed: command" in run.stdout
    assert "command_failed" in run.stdout
    assert "in attempt" in run.stdout
    assert "locals" not in run.stdout
    assert "hunter2" not in run.stdout.replace('Try(secret="hunter2")', "")
