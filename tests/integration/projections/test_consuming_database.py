"""A consumer's connection: which errors it survives, and that no other one is ever used again."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from bank_app import Balances, Opened, bank

from eventsource.consuming.database import Database
from eventsource.consuming.positions import Move
from eventsource.errors import DatabaseRefused, DatabaseUnavailable, PositionConflict
from projections.plan import Plan
from projections.reader import ProjectionReader
from projections.store import ProjectionStore, Topic

PARTITIONS = 4


@pytest.fixture
def database(settings):
    made = Database(settings.postgres, application_name="database test")
    made.connection().execute("CREATE TEMPORARY TABLE kept (id int PRIMARY KEY)")
    yield made
    made.close()


def backend(database: Database) -> int:
    return database.connection().info.backend_pid


def in_pipeline(connection: Any) -> None:
    connection.pgconn.enter_pipeline_mode()


def in_transaction(connection: Any) -> None:
    connection.execute("BEGIN")


def in_failed_transaction(connection: Any) -> None:
    connection.execute("BEGIN")
    with pytest.raises(psycopg.DataError):
        connection.execute("SELECT 1/0")


def run_in(database: Database, *steps: Callable[[Any], object]) -> None:
    with database.transaction() as connection:
        for step in steps:
            step(connection)


@pytest.mark.parametrize("leave", [in_pipeline, in_transaction, in_failed_transaction])
def test_a_connection_in_which_something_is_left_open_is_not_used_again(database, leave):
    before = backend(database)
    leave(database.connection())
    assert not database.connection().closed
    with database.transaction() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert backend(database) != before


def test_a_connection_that_a_block_leaves_in_a_pipeline_is_closed_at_its_end(database):
    connection = database.connection()
    with pytest.raises(DatabaseUnavailable, match="pipeline"):
        run_in(database, in_pipeline, lambda connection: connection.execute("SELECT 1"))
    assert connection.closed
    with database.transaction() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "statement",
    ["SELECT 1/0", "SELECT 'x'::int", "INSERT INTO kept VALUES (1), (1)", "INSERT INTO kept VALUES (NULL)"],
)
def test_an_error_about_values_costs_no_connection(database, statement):
    before = backend(database)
    with pytest.raises((psycopg.DataError, psycopg.IntegrityError)), database.transaction() as connection:
        connection.execute(statement)
    assert backend(database) == before


def test_an_error_of_the_block_itself_costs_no_connection(database):
    before = backend(database)

    def conflict(connection: Any) -> None:
        connection.execute("INSERT INTO kept VALUES (1)")
        raise PositionConflict("moved")

    with pytest.raises(PositionConflict):
        run_in(database, conflict)
    assert backend(database) == before
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT * FROM nowhere", DatabaseRefused),
        ("SELECT pg_terminate_backend(pg_backend_pid())", DatabaseUnavailable),
        ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(1)", DatabaseUnavailable),
        ("SET LOCAL transaction_read_only = on; CREATE TABLE t ()", DatabaseUnavailable),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_after_any_other_error_another_connection_is_used(database, statement, error, nested):
    before = backend(database)
    connection = database.connection()

    def execute(connection: Any) -> None:
        with connection.transaction() if nested else contextlib.nullcontext():
            connection.execute(statement)

    with pytest.raises(error):
        run_in(database, execute)
    assert connection.closed
    assert backend(database) != before
    with database.transaction() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_reader_gives_up_a_connection_that_looks_good_and_is_stuck(log, run, settings):
    run(Balances)
    (token,) = log.write(("a", Opened(owner="Ada")))
    reader: ProjectionReader = Balances.reader(bank, settings)
    try:
        reader.wait_for(token, 20)
        used: list[Any] = []

        def read() -> None:
            with reader.session() as session:
                used.append(session.connection().connection.driver_connection)
                used[0].rollback()  # so that the pool finds nothing to roll back
                in_pipeline(used[0])
                used[0].execute("SELECT 1")

        with pytest.raises(DatabaseUnavailable):
            read()
        assert used[0].closed
        with reader.session() as session:
            assert session.connection().exec_driver_sql("SELECT 1").scalar() == 1
    finally:
        reader.close()


@pytest.mark.faults
def test_a_store_whose_backends_are_ended_at_any_moment_goes_on(settings, tables, seed, sweep):
    """Whatever psycopg leaves behind when a backend ends in the middle of `executemany`, the next use gets past it."""
    name = f"{settings.namespace} ended"
    database = Database(settings.postgres, application_name=name)
    store = ProjectionStore(Plan(Balances.__definition__, bank, settings.namespace), database)
    topics = [Topic(topic, bytes(16), PARTITIONS) for topic in store.plan.aggregates]
    store.prepare(topics)
    done, ended, chance = threading.Event(), [0], random.Random(seed)

    def end_backends() -> None:
        with psycopg.connect(settings.postgres.url, autocommit=True) as connection:
            while not done.wait(chance.random() * 0.006):
                ended[0] += len(
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [name]
                    ).fetchall()
                )

    def advance(position: int) -> int:
        store.apply([], [Move(bytes(16), partition, position, position + 1) for partition in range(PARTITIONS)])
        return position + 1

    thread = threading.Thread(target=end_backends)
    thread.start()
    position, deadline = 0, time.monotonic() + sweep.times(4, 60)
    try:
        while time.monotonic() < deadline:
            try:
                position = advance(position)
            except (DatabaseUnavailable, PositionConflict):
                with contextlib.suppress(DatabaseUnavailable):
                    position = store.read_positions(topics)[topics[0].name, 0]
    finally:
        done.set()
        thread.join()

    assert ended[0] > 100
    for _ in range(2):  # the connection may have ended just now
        with contextlib.suppress(DatabaseUnavailable):
            position = store.read_positions(topics)[topics[0].name, 0]
    advance(position)
    database.close()
