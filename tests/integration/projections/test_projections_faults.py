"""Kills and cuts: whatever happens to a projector, rows are the fold of the log."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from bank_app import Balances, Deposited, Statement, bank

from eventsource.errors import DatabaseUnavailable, ReadModelRebuilding
from eventsource.settings import PostgresSettings, WorkerSettings
from projections import rebuild

pytestmark = pytest.mark.faults

WORKER = Path(__file__).with_name("worker.py")


def write_deposits(log, count, accounts=11, at_a_time=100):
    facts = [(f"a{index % accounts}", Deposited(amount=Decimal(index % 97) / 100)) for index in range(count)]
    tokens = []
    for start in range(0, count, at_a_time):
        tokens = log.write(*facts[start : start + at_a_time])
    return tokens


def expected(log):
    sums, counts = Counter(), Counter()
    for account, event in log.facts:
        sums[account] += event.amount
        counts[account] += 1
    return {account: (sums[account], counts[account]) for account in counts}


def balances(tables):
    return {
        account: (balance, events)
        for account, balance, events in tables.ask("SELECT account_id, balance, events FROM balances")
    }


@pytest.fixture
def slow(settings):
    """Small batches, so that there are many moments to be hit at."""
    return settings.model_copy(update={"worker": WorkerSettings(projection_batch_size=10)})


@pytest.fixture
def processes(slow):
    """Starts workers in processes of their own, and ends those that are left."""
    started = []
    environment = {
        **os.environ,
        "EVENTSOURCE_NAMESPACE": slow.namespace,
        "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS": slow.kafka.bootstrap_servers,
        "EVENTSOURCE_POSTGRES__URL": slow.postgres.url,
        "EVENTSOURCE_WORKER__PROJECTION_BATCH_SIZE": "10",
    }

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(WORKER), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_a_lost_answer_to_a_commit_does_not_fold_anything_twice(log, run, until, tables, slow, proxy):
    through = slow.model_copy(update={"postgres": PostgresSettings(url=proxy.url)})
    write_deposits(log, 50)
    running = run(Balances, settings_=through)
    until(lambda: balances(tables) == expected(log))
    for _ in range(5):
        proxy.cut_at = b"COMMIT"
        write_deposits(log, 30)
        until(lambda: proxy.cut_at is None)
        until(lambda: sum(count for _, count in balances(tables).values()) >= len(log.facts))
        assert balances(tables) == expected(log)
    assert proxy.cuts == 5
    assert running.error is None


def test_a_database_that_goes_away_and_comes_back_loses_and_doubles_nothing(log, run, until, tables, slow, proxy):
    through = slow.model_copy(update={"postgres": PostgresSettings(url=proxy.url)})
    running = run(Balances, settings_=through)
    write_deposits(log, 200)
    for _ in range(3):
        proxy.down()
        until(lambda: not running.runner.ready())
        write_deposits(log, 100)
        proxy.up()
        until(running.runner.ready)
    until(lambda: balances(tables) == expected(log))
    assert running.error is None


def test_backends_that_are_terminated_lose_and_double_nothing(log, run, until, tables, slow):
    running = run(Balances, settings_=slow)
    done = threading.Event()

    def terminate() -> None:
        with psycopg.connect(slow.postgres.url, autocommit=True) as connection:
            while not done.wait(0.15):
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
                    [f"{slow.namespace}.bank.projection.balances"],
                )

    thread = threading.Thread(target=terminate)
    thread.start()
    try:
        write_deposits(log, 600)
        until(lambda: sum(count for _, count in balances(tables).values()) >= 200, 60)
    finally:
        done.set()
        thread.join()
    until(lambda: balances(tables) == expected(log))
    assert running.error is None


def test_backends_ended_every_few_milliseconds_leave_no_connection_stuck(
    log, run, until, tables, settings, seed, sweep, monkeypatch
):
    """Among those are some in the middle of `executemany`: psycopg leaves its connection in pipeline mode then."""
    monkeypatch.setattr("projections.runner._LONGEST_WAIT_SECONDS", 0.001)  # back at once, to be ended again
    running = run(Balances)
    write_deposits(log, 50)
    until(lambda: balances(tables) == expected(log))
    chance, ended = random.Random(seed), 0
    until_when = time.monotonic() + sweep.times(4, 60)
    with psycopg.connect(settings.postgres.url, autocommit=True) as connection:
        while time.monotonic() < until_when:
            write_deposits(log, 5)
            found = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
                [f"{settings.namespace}.bank.projection.balances"],
            ).fetchall()
            ended += len(found)
            time.sleep(chance.random() * 0.01)
    assert ended >= 20
    before = sum(count for _, count in balances(tables).values())
    write_deposits(log, 30)
    until(lambda: sum(count for _, count in balances(tables).values()) > before, 5)
    until(lambda: balances(tables) == expected(log), 60)
    assert running.error is None


def test_a_postgres_that_crashes_and_recovers_loses_and_doubles_nothing(
    log, run, until, tables, slow, eventsource_stack
):
    if eventsource_stack.embedded is None:
        pytest.skip("the servers are somebody's own: they are not restarted")
    running = run(Balances, settings_=slow)
    write_deposits(log, 300)
    eventsource_stack.embedded.restart_postgres(immediate=True)
    write_deposits(log, 300)
    tables.reconnect()
    until(lambda: balances(tables) == expected(log))
    assert running.error is None


def test_workers_that_are_killed_lose_and_double_nothing(log, until, tables, slow, processes):
    write_deposits(log, 3_000, at_a_time=500)
    chance = random.Random(20_240_101)
    for _ in range(2):
        before = sum(count for _, count in balances(tables).values())
        process = processes("run", "balances")
        until(lambda before=before: sum(count for _, count in balances(tables).values()) > before + 100, 40)
        time.sleep(chance.random() / 10)
        process.kill()
        process.wait(10)
        assert sum(count for _, count in balances(tables).values()) < 3_000
    processes("run", "balances")
    until(lambda: balances(tables) == expected(log), 60)


# --- rebuilding --------------------------------------------------------------------------------------------------


def test_a_rebuild_beside_a_busy_worker_ends_in_the_fold_of_the_log(log, run, until, tables, slow):
    running = run(Balances, settings_=slow)
    done = threading.Event()

    def keep_writing() -> None:
        while not done.is_set():
            write_deposits(log, 20)

    thread = threading.Thread(target=keep_writing)
    thread.start()
    try:
        until(lambda: sum(count for _, count in balances(tables).values()) > 200)
        for _ in range(2):
            report = rebuild(bank, "balances", slow)
            assert report.events >= 200
    finally:
        done.set()
        thread.join()
    until(lambda: balances(tables) == expected(log))
    assert running.error is None


def test_a_rebuild_that_is_killed_is_carried_on_by_the_workers(log, run, until, tables, slow, processes, monkeypatch):
    monkeypatch.setattr(
        "projections.runner._TOPIC_CHECK_SECONDS", 600
    )  # looks at positions too, and too late for people
    write_deposits(log, 2_000, at_a_time=500)
    running = run(Balances, settings_=slow)
    until(lambda: balances(tables) == expected(log), 60)
    process = processes("rebuild", "balances")
    assert process.stdout is not None
    for line in process.stdout:
        done, total = map(int, line.split())
        assert total >= 2_000
        if done == 0:
            process.kill()
            break
    process.wait(10)
    until(lambda: balances(tables) == expected(log), 60)
    assert running.error is None


def test_only_one_rebuild_at_a_time(log, slow, tables):
    write_deposits(log, 100)
    refused = []

    def rebuild_too(done: int, total: int) -> None:
        if not refused:
            with pytest.raises(ReadModelRebuilding, match="is being rebuilt already") as caught:
                rebuild(bank, "balances", slow)
            refused.append(caught)

    rebuild(bank, "balances", slow, rebuild_too)
    assert len(refused) == 1
    assert balances(tables) == expected(log)


def test_a_rebuild_that_loses_its_connection_says_so_and_leaves_no_lock(log, slow, tables, proxy):
    write_deposits(log, 100)
    through = slow.model_copy(update={"postgres": PostgresSettings(url=proxy.url)})

    def cut(done: int, total: int) -> None:
        proxy.down()

    with pytest.raises(DatabaseUnavailable):
        rebuild(bank, "balances", through, cut)
    rebuild(bank, "balances", slow)
    assert balances(tables) == expected(log)


def test_a_statement_is_rebuilt_to_the_same_rows(log, run, until, tables, slow):
    run(Statement, settings_=slow)
    write_deposits(log, 500)
    until(lambda: len(tables.ask("SELECT 1 FROM statement")) == 500)
    before = tables("SELECT * FROM statement ORDER BY 1, 2")
    report = rebuild(bank, "statement", slow)
    assert (report.rows, report.events) == (500, 500)
    assert tables("SELECT * FROM statement ORDER BY 1, 2") == before


def test_a_rebuild_does_not_make_readers_wait_behind_an_idle_one(log, slow, tables, monkeypatch):
    monkeypatch.setattr(sys.modules["projections.rebuild"], "_LOCK_SECONDS", 3)
    write_deposits(log, 50)
    rebuild(bank, "balances", slow)
    schema = bank.names(slow.namespace).database_schema
    with psycopg.connect(slow.postgres.url) as idle:
        idle.execute(f"SELECT * FROM {schema}.balances")
        failed = []

        def attempt() -> None:
            try:
                rebuild(bank, "balances", slow)
            except DatabaseUnavailable as error:
                failed.append(error)

        thread = threading.Thread(target=attempt)
        thread.start()
        longest = 0.0
        while thread.is_alive():
            began = time.monotonic()
            assert balances(tables) == expected(log)
            longest = max(longest, time.monotonic() - began)
        assert longest < 2, "whoever waits for the lock waits 3"
        assert "is in use by a session that does not end" in str(failed[0])
    rebuild(bank, "balances", slow)
    assert balances(tables) == expected(log)


def test_a_rebuild_that_waits_for_a_table_stays_the_only_one(log, slow, tables, until, monkeypatch):
    monkeypatch.setattr(sys.modules["projections.rebuild"], "_LOCK_SECONDS", 20)
    write_deposits(log, 50)
    rebuild(bank, "balances", slow)
    schema = bank.names(slow.namespace).database_schema
    with psycopg.connect(slow.postgres.url) as idle:
        idle.execute(f"SELECT * FROM {schema}.balances")
        thread = threading.Thread(target=rebuild, args=(bank, "balances", slow))
        thread.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE '%% rebuild' AND wait_event = 'relation'"
        for _ in range(3):  # a lock that it does not get in time costs it neither connection nor place
            until(lambda: tables(waits))
            with pytest.raises(ReadModelRebuilding, match="is being rebuilt already"):
                rebuild(bank, "balances", slow)
    thread.join(30)
    assert not thread.is_alive()
    assert balances(tables) == expected(log)


def test_a_rebuild_makes_a_table_of_another_shape_anew(log, slow, tables):
    write_deposits(log, 50)
    rebuild(bank, "balances", slow)
    tables("ALTER TABLE balances DROP COLUMN owner")
    tables("UPDATE eventsource_projections SET shape = 'old', revision = 0")
    rebuild(bank, "balances", slow)
    assert balances(tables) == expected(log)
    assert tables("SELECT owner FROM balances LIMIT 1") == [(None,)]
