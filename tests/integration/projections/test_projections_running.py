"""Projections at work between a real broker and a real Postgres."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from decimal import Decimal

import pytest
from bank_app import (
    Account,
    Audited,
    Balance,
    Balances,
    Branch,
    Closed,
    Deposited,
    Flows,
    Line,
    Moved,
    Noted,
    Opened,
    Statement,
    bank,
)
from sqlalchemy import insert, select, text, update

from eventsource.app import App
from eventsource.errors import (
    DatabaseUnavailable,
    ForkDetected,
    InvalidArgument,
    LogError,
    NotCaughtUp,
    OffsetLost,
    ProjectionFailed,
    ReadModelOutdated,
    ReadModelReadOnly,
    Retriable,
)
from eventsource.log.admin import LogAdmin
from eventsource.log.token import Token
from eventsource.settings import WorkerSettings
from projections import Projection, projects
from projections.feed import find_topics


@pytest.fixture
def reader(settings):
    found = Balances.reader(bank, settings)
    yield found
    found.close()


def deposits(count, accounts=13):
    return [(f"a{index % accounts}", Deposited(amount=Decimal(index) / 100)) for index in range(count)]


def balances_of(facts):
    found = {}
    for account, event in facts:
        found[account] = found.get(account, Decimal(0)) + event.amount
    return found


def test_events_become_rows_that_a_token_waits_for(log, run, reader):
    run(Balances)
    tokens = log.write(("a", Opened(owner="Ada")), ("a", Deposited(amount=Decimal("5.00"))), ("b", Opened(owner="Bea")))
    for token in tokens:
        reader.wait_for(token, 10)
    with reader.session() as session:
        assert session.scalars(select(Balance).order_by(Balance.account_id)).all() == [
            Balance(account_id="a", owner="Ada", balance=Decimal("5.00"), events=2),
            Balance(account_id="b", owner="Bea", events=1),
        ]
        assert session.execute(text("SELECT count(*) FROM balances")).scalar() == 2


def changed(session):
    session.scalars(select(Balance)).one().owner = "Bea"


@pytest.mark.parametrize(
    "write",
    [
        lambda session: session.add(Balance(account_id="x", owner=None)),
        lambda session: session.add_all([Balance(account_id="x", owner=None)]),
        lambda session: session.merge(Balance(account_id="x", owner=None)),
        lambda session: session.delete(session.scalars(select(Balance)).one()),
        lambda session: session.execute(insert(Balance).values(account_id="x", balance=0, events=0)),
        lambda session: session.execute(update(Balance).values(owner="Bea")),
        lambda session: session.execute(text("DELETE FROM balances")),
        lambda session: session.bulk_save_objects([Balance(account_id="x", owner=None)]),
        changed,
        lambda session: (changed(session), session.commit()),
        lambda session: (changed(session), session.scalars(select(Balance)).all()),
    ],
)
def test_a_session_cannot_write_and_says_so(log, run, reader, tables, write):
    run(Balances)
    (token,) = log.write(("a", Opened(owner="Ada")))
    reader.wait_for(token, 10)
    with pytest.raises(ReadModelReadOnly, match="'balances' is read-only") as caught, reader.session() as session:
        write(session)
    assert not isinstance(caught.value, Retriable)
    assert tables("SELECT account_id, owner FROM balances") == [("a", "Ada")]


def test_what_is_expunged_from_a_session_is_the_callers(log, run, reader):
    run(Balances)
    (token,) = log.write(("a", Opened(owner="Ada")))
    reader.wait_for(token, 10)
    with reader.session() as session:
        row = session.scalars(select(Balance)).one()
        session.expunge(row)
        row.owner = "Bea"


def test_unknown_tokens_share_one_admin_client_and_one_question_a_second(log, run, reader, monkeypatch):
    run(Balances)
    (token,) = log.write(("a", Opened(owner="Ada")))
    made, asked = [], []
    monkeypatch.setattr("projections.reader.LogAdmin", lambda *a, **k: made.append(LogAdmin(*a, **k)) or made[-1])
    monkeypatch.setattr("projections.reader.find_topics", lambda *a: asked.append(a) or find_topics(*a))
    for number in range(20):
        with pytest.raises(InvalidArgument):
            reader.wait_for(replace(token, topic_id=bytes([number]) * 16), 1)
    assert len(made) == 1
    assert len(asked) < 20
    reader.wait_for(token, 10)
    reader.close()
    with pytest.raises(LogError, match="closed"):
        made[0].broker_ids()


def test_several_workers_share_the_partitions(log, run, until, reader, tables):
    first, second = run(Balances), run(Balances)
    until(lambda: first.runner.ready() and second.runner.ready())
    until(lambda: first.owned() and second.owned())
    facts = deposits(400)
    tokens = [log.write(*facts[start : start + 50])[-1] for start in range(0, 400, 50)]
    for token in tokens:
        reader.wait_for(token, 10)
    until(lambda: dict(tables("SELECT account_id, balance FROM balances")) == balances_of(facts))


def test_a_worker_that_comes_later_carries_on_where_another_stopped(log, run, reader, tables):
    running = run(Balances)
    facts = deposits(100)
    reader.wait_for(log.write(*facts[:50])[-1], 10)
    running.close()
    tokens = log.write(*facts[50:])
    run(Balances)
    for token in tokens:
        reader.wait_for(token, 20)
    assert dict(tables("SELECT account_id, balance FROM balances")) == balances_of(facts)


def test_events_that_do_not_concern_it_move_the_position_too(log, run, reader, tables):
    run(Balances)
    (token,) = log.write(("a", Noted(text="nothing to fold")))
    reader.wait_for(token, 10)
    assert tables("SELECT * FROM balances") == []


def test_an_event_under_a_former_name_is_folded(log, run, reader, tables):
    run(Balances)
    (token,) = log.write(("a", Deposited(amount=Decimal("3.00"))), type_name="paid-in")
    reader.wait_for(token, 10)
    assert tables("SELECT balance FROM balances") == [(Decimal("3.00"),)]


def test_aborted_events_are_never_folded_and_markers_are_passed(log, run, until, reader, tables, settings):
    run(Balances)
    log.write(("a", Deposited(amount=Decimal("9.00"))), abort=True)
    (token,) = log.write(("a", Deposited(amount=Decimal("3.00"))))
    log.write(("a", Deposited(amount=Decimal("9.00"))), abort=True)
    reader.wait_for(token, 10)
    assert tables("SELECT balance FROM balances") == [(Decimal("3.00"),)]
    topic = bank.names(settings.namespace).events("account")
    place = (topic, log.partition("a"))

    def passed() -> bool:
        # asked each time: an abort is answered before its marker is written
        end = log.admin.end_offsets([place])[place]
        return end >= 6 and tables("SELECT position FROM eventsource_positions WHERE partition = %s", [place[1]]) == [
            (end,)
        ]

    # event, abort, event, commit, event, abort: nothing but ends of transactions lies behind the last record
    until(passed)


def test_rows_of_an_item_and_deleted_rows(log, run, until, tables):
    run(Statement)
    run(Balances)
    log.write(("a", Opened(owner="Ada")), ("a", Deposited(amount=Decimal(1))), ("a", Deposited(amount=Decimal(2))))
    log.write(("b", Opened(owner="Bea")))
    lines = [("a", 2, Decimal("1.00")), ("a", 3, Decimal("2.00"))]
    until(lambda: tables.ask("SELECT account_id, version, amount FROM statement ORDER BY 1, 2") == lines)
    log.write(("a", Closed()))
    until(lambda: tables("SELECT account_id FROM balances") == [("b",)])
    assert Line.__tablename__ == "statement"


# --- shared rows -------------------------------------------------------------------------------------------------


def test_rows_that_two_writers_share_lose_nothing(log, run, until, tables, settings):
    """Every event moves money to the same few accounts, from accounts of all partitions."""
    small = settings.model_copy(update={"worker": WorkerSettings(projection_batch_size=7)})
    first, second = run(Flows, settings_=small), run(Flows, settings_=small)
    until(lambda: first.owned() and second.owned())
    facts = [(f"from{index % 40}", Moved(target=f"to{index % 3}", amount=Decimal("1.00"))) for index in range(900)]
    for start in range(0, 900, 300):
        log.write(*facts[start : start + 300])
    until(lambda: sum(moves for (moves,) in tables.ask("SELECT moves FROM flows")) >= 900, 60)
    assert tables("SELECT account_id, received, moves FROM flows ORDER BY 1") == [
        (f"to{number}", Decimal("300.00"), 300) for number in range(3)
    ]
    assert (first.error, second.error) == (None, None)


def test_rows_that_two_aggregates_reach_lose_nothing(log, run, until, tables):
    class Both(Projection[Balance], name="both"):
        @projects
        def on_either(self, event: Deposited | Audited, row: Balance) -> None:
            row.events += 1

    app = App("bank", aggregates=[Account, Branch], consumers=[Both], partitions=4)
    for _ in range(20):
        log.write(*[("x", Deposited(amount=Decimal(1)))] * 5)
        log.write(*[("x", Audited(text="y"))] * 5, aggregate="branch")
    run(Both, app)
    run(Both, app)
    until(lambda: tables.ask("SELECT events FROM balances") == [(200,)])


# --- waiting -----------------------------------------------------------------------------------------------------


def test_waiting_in_vain_says_how_far_behind(log, run, reader, tables, until):
    (token,) = log.write(("a", Opened(owner="Ada")))
    with pytest.raises(
        NotCaughtUp, match=r"did not reach offset 0 of .*account.events, partition \d, within 0.05 s: nothing has been"
    ):
        reader.wait_for(token, 0.05)
    running = run(Balances)
    reader.wait_for(token, 10)
    until(lambda: tables("SELECT max(position) FROM eventsource_positions") == [(2,)])
    running.close()
    *_, token = log.write(("a", Deposited(amount=Decimal(1))), ("a", Deposited(amount=Decimal(1))))
    with pytest.raises(NotCaughtUp, match="its position there is 2, 2 behind"):
        reader.wait_for(token, 0.05)


def test_a_token_of_another_topic_is_refused_at_once(log, run, reader):
    run(Balances)
    (branch,) = log.write(("x", Audited(text="y")), aggregate="branch")
    for token in (branch, Token(b"0123456789abcdef", 0, 1, "a", 1)):
        with pytest.raises(InvalidArgument, match="a topic that projection 'balances' does not read"):
            reader.wait_for(token, 10)


def test_a_read_model_that_nobody_builds_says_so(log, reader):
    with pytest.raises(ReadModelOutdated, match="is not there yet: start a worker"), reader.session():
        pass


# --- what stops a projection -------------------------------------------------------------------------------------


def test_a_projection_whose_handler_hangs_is_not_ready_and_then_not_alive(log, run, until, tables, monkeypatch):
    monkeypatch.setattr("projections.batch_watch.HANGS_AFTER_SECONDS", 0.2)
    monkeypatch.setattr("projections.batch_watch.DEAD_AFTER_SECONDS", 0.5)
    goes_on = threading.Event()

    class Hanging(Projection[Balance], name="hanging"):
        @projects
        def on_deposited(self, event: Deposited, row: Balance) -> None:
            assert goes_on.wait(40)  # longer than the test waits for anything
            row.balance += event.amount

    running = run(Hanging, App("bank", aggregates=[Account, Branch], consumers=[Hanging], partitions=4))
    until(lambda: running.runner.ready() and running.runner.alive())
    log.write(("a", Deposited(amount=Decimal(1))))
    until(lambda: not running.runner.ready() and not running.runner.alive())
    goes_on.set()
    until(lambda: running.runner.ready() and running.runner.alive())
    until(lambda: tables.ask("SELECT balance FROM balances") == [(Decimal("1.00"),)])
    assert running.error is None


def test_a_handler_that_fails_stops_the_projection_and_writes_nothing_of_the_batch(log, run, until, tables, settings):
    class Fragile(Projection[Balance], name="fragile"):
        @projects
        def on_deposited(self, event: Deposited, row: Balance) -> None:
            if event.amount == 13:
                raise RuntimeError("unlucky")
            row.balance += event.amount

    app = App("bank", aggregates=[Account, Branch], consumers=[Fragile], partitions=4)
    running = run(Fragile, app)
    log.write(("a", Deposited(amount=Decimal(1))))
    until(lambda: tables.ask("SELECT balance FROM balances") == [(Decimal("1.00"),)])
    (place,) = log.write(("a", Deposited(amount=Decimal(2))), ("a", Deposited(amount=Decimal(13))))[1:]
    until(lambda: running.error)
    assert isinstance(running.error, ProjectionFailed)
    assert str(running.error).startswith(
        f"projection 'fragile' stands still: {Fragile.__qualname__}.on_deposited failed on event 'deposited' of 'a' (version 3, "
        f"partition {place.partition}, offset {place.offset}) with RuntimeError: unlucky"
    )
    assert not running.runner.ready()
    assert tables("SELECT balance FROM balances") == [(Decimal("1.00"),)]


def test_a_value_that_postgres_does_not_take_is_blamed_on_its_event(log, run, until, tables):
    running = run(Balances)
    log.write(
        *[(f"a{index}", Opened(owner="fine")) for index in range(20)],
        ("bad", Opened(owner="zero \0 byte")),
        ("c", Opened(owner="fine")),
    )
    until(lambda: running.error)
    assert isinstance(running.error, ProjectionFailed)
    assert "Balances.on_opened failed on event 'opened' of 'bad' (version 1" in str(running.error)
    assert "the row ('bad',) of 'balances' cannot be stored" in str(running.error)


def test_an_id_in_the_log_that_postgres_cannot_hold_is_named_with_event_row_and_column(log, run, until, tables):
    running = run(Balances)
    log.write(("a", Opened(owner="Ada")), ("b\0d", Opened(owner="Eve")), ("c", Opened(owner="Bob")))
    until(lambda: running.error)
    assert isinstance(running.error, ProjectionFailed)
    assert running.error.row == ("b\0d",)
    assert running.error.column == "account_id"
    assert "Balances.on_opened failed on event 'opened' of 'b\\x00d' (version 1" in str(running.error)


def test_a_gap_in_the_versions_stops_the_projection(log, run, until):
    running = run(Balances)
    log.write(("a", Opened(owner="Ada")))
    log.versions["account", "a"] += 1
    log.write(("a", Noted(text="skipped, but looked at")))
    until(lambda: running.error)
    assert isinstance(running.error, ForkDetected)
    assert "version 3 follows version 1" in str(running.error)


def test_a_topic_made_anew_is_not_taken_for_the_old_one(log, run, until, reader, settings):
    running = run(Balances)
    tokens = log.write(*deposits(20))
    for token in tokens:
        reader.wait_for(token, 10)
    running.close()
    topic = bank.names(settings.namespace).events("account")
    log.make_anew(topic)
    again = run(Balances)
    until(lambda: again.error)
    assert isinstance(again.error, ReadModelOutdated)
    assert "was deleted and made anew; rebuild it with `eventsource projections rebuild balances`" in str(again.error)


def test_a_topic_made_anew_under_a_running_worker_stops_it(log, run, until, reader, settings, monkeypatch):
    # Not in between, when there is no topic: that is another error.
    monkeypatch.setattr("projections.runner._TOPIC_CHECK_SECONDS", float("inf"))
    running = run(Balances)
    reader.wait_for(log.write(("a", Opened(owner="Ada")))[-1], 10)
    topic = bank.names(settings.namespace).events("account")
    log.make_anew(topic)
    monkeypatch.setattr("projections.runner._TOPIC_CHECK_SECONDS", 0.2)
    until(lambda: running.error, 30)
    assert isinstance(running.error, ReadModelOutdated | OffsetLost), running.error


def test_deleted_records_stop_a_new_projection(log, run, until, settings):
    log.write(*deposits(20))
    log.delete_before(bank.names(settings.namespace).events("account"), log.partition("a1"), 2)
    running = run(Balances)
    until(lambda: running.error)
    assert isinstance(running.error, OffsetLost)
    assert "the log begins at 2: events were deleted" in str(running.error)


def test_a_position_beyond_the_log_stops_it(log, run, until, reader, tables):
    running = run(Balances)
    reader.wait_for(log.write(("a", Opened(owner="Ada")))[-1], 10)
    running.close()
    tables("UPDATE eventsource_positions SET position = 1000 WHERE position > 0")
    again = run(Balances)
    until(lambda: again.error)
    assert isinstance(again.error, OffsetLost)
    assert "has read" in str(again.error)
    assert "up to offset 1000, and the log ends at 2: it lost events" in str(again.error)


def test_a_lost_position_is_not_taken_for_the_beginning(log, run, until, reader, tables):
    running = run(Balances)
    reader.wait_for(log.write(("a", Deposited(amount=Decimal(1))))[-1], 10)
    running.close()
    tables("DELETE FROM eventsource_positions WHERE position > 0")
    again = run(Balances)
    until(lambda: again.error)
    assert isinstance(again.error, ReadModelOutdated)
    assert "is gone, so nobody knows which events are in its rows" in str(again.error)
    assert tables("SELECT balance FROM balances") == [(Decimal("1.00"),)]


def test_a_database_that_is_not_there_is_an_error_within_seconds(log, run, until, settings):
    nowhere = settings.model_copy(
        update={"postgres": settings.postgres.model_copy(update={"url": "postgresql://x:secret@127.0.0.1:1/x"})}
    )
    began = time.monotonic()
    running = run(Balances, settings_=nowhere)
    until(lambda: running.error)
    assert time.monotonic() - began < 10
    assert isinstance(running.error, DatabaseUnavailable)
    assert "127.0.0.1:1/x: no connection" in str(running.error)
    assert "secret" not in str(running.error)
