"""What two writers of one read model may do to each other: nothing."""

from __future__ import annotations

import threading
import types
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import psycopg
import pytest
from bank_app import Account, Balances, Branch, Deposited, Flow, Flows, Moved, Noted, Opened, bank
from sqlalchemy import ARRAY, CheckConstraint, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from eventsource.app import App
from eventsource.consuming.database import Database
from eventsource.consuming.positions import Move
from eventsource.errors import (
    DatabaseRefused,
    DatabaseUnavailable,
    PositionConflict,
    ProjectionFailed,
    ReadModelOutdated,
    ReadModelRebuilding,
)
from eventsource.log.recorded import Recorded
from projections import Deleted, Projection, ReadModel, Rows, projects
from projections.plan import Plan
from projections.store import ProjectionStore, Topic

ID = bytes(range(16))


@pytest.fixture
def stores(settings):
    """Makes stores, each on a connection of its own."""
    made = []

    def make(projection: Any = Balances, app: App = bank) -> ProjectionStore:
        database = Database(settings.postgres, application_name="store test")
        made.append(database)
        return ProjectionStore(Plan(projection.__definition__, app, settings.namespace), database)

    yield make
    for database in made:
        database.close()


def topics(store: ProjectionStore, id_: bytes = ID) -> list[Topic]:
    return [Topic(name, id_, 4) for name in store.plan.aggregates]


def move(old: int, new: int, partition: int = 0) -> Move:
    return Move(ID, partition, old, new)


def deposit(amount: int, version: int = 1, aggregate_id: str = "a") -> Recorded:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    return Recorded("account", aggregate_id, version, Deposited(amount=Decimal(amount)), now, "c", 1, 1, 0, version - 1)


def balance(tables: Any) -> Decimal | None:
    found = tables("SELECT balance FROM balances WHERE account_id = 'a'")
    return found[0][0] if found else None


# --- one position, one writer ------------------------------------------------------------------------------------


def test_a_stale_writer_changes_nothing(stores, tables):
    first, stale = stores(), stores()
    first.prepare(topics(first))
    first.apply([deposit(5)], [move(0, 1)])
    with pytest.raises(PositionConflict):
        stale.apply([deposit(5)], [move(0, 1)])
    with pytest.raises(PositionConflict):
        stale.apply([deposit(5)], [move(0, 2), move(0, 1, partition=1)])
    assert balance(tables) == Decimal("5.00")
    assert stale.read_positions(topics(stale)) == {
        (topic.name, n): (1 if n == 0 else 0) for topic in topics(stale) for n in range(4)
    }


def test_two_writers_at_the_same_moment_have_one_effect(stores, tables):
    first, second = stores(), stores()
    first.prepare(topics(first))
    for round_ in range(20):
        barrier = threading.Barrier(2)
        failed: list[Exception] = []

        def write(
            store: ProjectionStore, round_: int = round_, barrier: threading.Barrier = barrier, failed: list = failed
        ) -> None:
            barrier.wait(10)
            try:
                store.apply([deposit(1, round_ + 1)], [move(round_, round_ + 1)])
            except PositionConflict as error:
                failed.append(error)

        threads = [threading.Thread(target=write, args=(store,)) for store in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failed) == 1
    assert balance(tables) == Decimal("20.00")


def test_a_position_that_is_gone_is_never_written(stores, tables):
    store = stores()
    store.prepare(topics(store))
    tables("DELETE FROM eventsource_positions")
    with pytest.raises(PositionConflict):
        store.apply([deposit(5)], [move(0, 1)])
    assert balance(tables) is None
    with pytest.raises(ReadModelOutdated, match=r"its position in .*, partition 0, is gone"):
        store.read_positions(topics(store))


def test_rows_are_read_after_the_position_is_taken(stores, tables, settings):
    """A writer that waits for another's position must not fold into rows that it read before."""
    store = stores()
    store.prepare(topics(store))
    with psycopg.connect(settings.postgres.url) as other:
        other.execute("SELECT set_config('search_path', quote_ident(%s), false)", [store.schema])
        other.execute("UPDATE eventsource_positions SET position = 0 WHERE partition = 0")
        other.execute("INSERT INTO balances (account_id, balance, events) VALUES ('a', 10, 1)")
        thread = threading.Thread(target=store.apply, args=([deposit(5)], [move(0, 1)]))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        other.commit()
    thread.join(10)
    assert balance(tables) == Decimal("15.00")


# --- shared rows -------------------------------------------------------------------------------------------------


def test_writers_of_shared_rows_take_turns(stores, tables):
    first, second = stores(Flows), stores(Flows)
    first.prepare(topics(first))
    errors: list[BaseException] = []

    def write(store: ProjectionStore, partition: int) -> None:
        now = datetime(2024, 1, 1, tzinfo=UTC)
        try:
            for round_ in range(60):
                # in opposite orders, so that locks taken in the order of events would dead-lock
                targets = [f"t{n}" for n in range(8)][:: 1 if partition else -1]
                events = [
                    Recorded(
                        "account",
                        f"s{partition}",
                        1,
                        Moved(target=target, amount=Decimal(1)),
                        now,
                        "c",
                        1,
                        1,
                        partition,
                        0,
                    )
                    for target in targets
                ]
                store.apply(events, [move(round_, round_ + 1, partition)])
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            errors.append(error)

    threads = [threading.Thread(target=write, args=(store, number)) for number, store in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert tables("SELECT account_id, moves FROM flows ORDER BY 1") == [(f"t{n}", 120) for n in range(8)]


def test_a_row_that_was_only_locked_is_not_left_behind(stores, tables):
    class Careful(Projection[Flow], name="careful"):
        @projects(Moved, keys=lambda event: (event.target, "other"))
        def on_moved(self, event: Moved, rows: Rows[Flow]) -> None:
            rows[event.target].moves += 1

    store = stores(Careful, App("bank", aggregates=[Account], consumers=[Careful], partitions=4))
    store.prepare(topics(store))
    now = datetime(2024, 1, 1, tzinfo=UTC)
    store.apply([Recorded("account", "a", 1, Moved(target="t", amount=Decimal(1)), now, "c", 1, 1, 0, 0)], [move(0, 1)])
    assert tables("SELECT account_id FROM flows") == [("t",)]


# --- what Postgres does not take ---------------------------------------------------------------------------------


def note(aggregate_id: str, text: str = "", version: int = 1) -> Recorded:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    return Recorded("account", aggregate_id, version, Noted(text=text), now, "c", 1, 1, 0, 0)


def noting(
    column: Any, key: Any = None, *, type_: Any = str, constraints: tuple[Any, ...] = (), delete: str | None = None
) -> Any:
    """A projection whose rows have the key `key`, and `column` filled with the text of a note."""

    class Row(ReadModel):
        __tablename__ = "noted"
        __table_args__ = constraints
        id: Mapped[type_] = mapped_column(primary_key=True)  # type: ignore[valid-type]
        text: Mapped[str | None] = column

    class Noting(Projection[Row], name="noting"):
        @projects(key=key)
        def on_noted(self, event: Noted, row: Row) -> Deleted | None:
            row.text = event.text
            return Deleted() if event.text == delete else None

    return Noting


BAD_KEYS = [
    (lambda event: event.text, str, "zero \0 byte", "NUL"),
    (lambda event: event.text, str, "lone \ud800 surrogate", "surrogates not allowed"),
    (lambda event: int(event.text), int, str(2**63), "out of range"),
    (lambda event: int(event.text), int, str(10**30), "out of range"),
]


@pytest.mark.parametrize(("key", "type_", "text", "reason"), BAD_KEYS)
@pytest.mark.parametrize("locked", [False, True])
def test_a_key_that_postgres_does_not_take_is_blamed_on_the_event_that_named_it(
    stores, tables, monkeypatch, locked, key, type_, text, reason
):
    projection = noting(None, key, type_=type_)
    store = stores(projection, App("bank", aggregates=[Account], consumers=[projection], partitions=4))
    monkeypatch.setattr(store.plan, "locked", locked)
    store.prepare(topics(store))
    before = store.database.connection().info.backend_pid
    with pytest.raises(ProjectionFailed, match=rf"on event 'noted' of 'bad' \(version 3,.*the row .*{reason}"):
        store.apply([note("a", "1"), note("b", "2"), note("bad", text, 3), note("c", "3")], [move(0, 1)])
    assert store.database.connection().info.backend_pid == before
    store.apply([note("a", "1"), note("b", "2")], [move(0, 1)])
    assert tables("SELECT count(*) FROM noted") == [(2,)]


def too_long_for_an_index() -> Any:
    return noting(mapped_column(index=True))


def unique_text() -> Any:
    return noting(mapped_column(unique=True))


def deferred_text() -> Any:
    return noting(None, constraints=(UniqueConstraint("text", deferrable=True, initially="DEFERRED"),))


def checked_text() -> Any:
    return noting(None, constraints=(CheckConstraint("text <> 'bad'", name="ck_noted"),))


@pytest.mark.parametrize(
    ("make", "stored", "notes", "reason"),
    [
        (
            too_long_for_an_index,
            [],
            [("a", "1"), ("bad", "".join(map(chr, range(300, 9000))))],
            "cannot be stored: index row",
        ),
        (unique_text, [("x", "1")], [("a", "2"), ("bad", "1"), ("c", "3")], "cannot be stored: duplicate key"),
        (unique_text, [], [("a", "2"), ("bad", "2"), ("c", "3")], "cannot be stored together .*duplicate key"),
        (deferred_text, [("x", "1")], [("a", "2"), ("bad", "1"), ("c", "3")], "cannot be stored: duplicate key"),
        (checked_text, [], [("a", "2"), ("bad", "bad"), ("c", "3")], "cannot be stored: .*ck_noted"),
    ],
)
def test_a_row_that_postgres_does_not_take_is_blamed_on_its_event(stores, tables, make, stored, notes, reason):
    projection = make()
    store = stores(projection, App("bank", aggregates=[Account], consumers=[projection], partitions=4))
    store.prepare(topics(store))
    store.apply([note(*one) for one in stored], [move(0, 1)])
    before = store.database.connection().info.backend_pid
    with pytest.raises(ProjectionFailed, match=rf"on event 'noted' of 'bad' .*the row .*'bad'.* {reason}"):
        store.apply([note(*one) for one in notes], [move(1, 2)])
    assert store.database.connection().info.backend_pid == before
    assert tables("SELECT id FROM noted ORDER BY 1") == [(id_,) for id_, _ in stored]


def test_a_row_that_cannot_be_deleted_is_blamed_on_its_event(stores, tables):
    projection = noting(None, delete="gone")
    store = stores(projection, App("bank", aggregates=[Account], consumers=[projection], partitions=4))
    store.prepare(topics(store))
    store.apply([note("a"), note("bad")], [move(0, 1)])
    tables("CREATE TABLE others (noted text REFERENCES noted)")
    tables("INSERT INTO others VALUES ('bad')")
    with pytest.raises(
        ProjectionFailed, match=r"of 'bad' \(version 2.*the row \('bad',\) of 'noted' cannot be deleted"
    ):
        store.apply([note("a", "gone", 2), note("bad", "gone", 2), note("c", version=1)], [move(1, 2)])


@pytest.mark.parametrize("wrong", ["REVOKE ALL ON noted FROM {user}", "ALTER TABLE noted DROP COLUMN text"])
def test_a_statement_that_fails_for_every_row_is_blamed_on_no_event(stores, tables, writer_settings, wrong):
    user, settings = writer_settings
    projection = noting(None)
    maker = stores(projection, App("bank", aggregates=[Account], consumers=[projection], partitions=4))
    maker.prepare(topics(maker))
    tables(f"GRANT USAGE ON SCHEMA {maker.schema} TO {user}")
    tables(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {maker.schema} TO {user}")
    tables(wrong.format(user=user))
    database = Database(settings.postgres, application_name="writer")
    with pytest.raises(DatabaseRefused, match="refused a statement"):
        ProjectionStore(maker.plan, database).apply([note("a")], [move(0, 1)])
    database.close()


# --- beginning ---------------------------------------------------------------------------------------------------


def test_workers_that_begin_at_once_make_one_table(stores, tables):
    made = [stores() for _ in range(5)]
    barrier = threading.Barrier(len(made))
    errors: list[BaseException] = []

    def begin(store: ProjectionStore) -> None:
        store.database.connection()
        barrier.wait(10)
        try:
            store.prepare(topics(store))
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            errors.append(error)

    threads = [threading.Thread(target=begin, args=(store,)) for store in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert tables("SELECT count(*) FROM eventsource_positions") == [(4,)]


def variant(revision: int = 1, **columns: Any) -> Any:
    model = types.new_class(
        "Balance",
        (ReadModel,),
        {},
        lambda body: body.update(
            __tablename__="balances",
            __module__=__name__,
            __annotations__={
                "account_id": Mapped[str],
                **{name: annotation for name, (annotation, _) in columns.items()},
            },
            account_id=mapped_column(primary_key=True),
            **{name: column for name, (_, column) in columns.items() if column is not None},
        ),
    )

    def on_opened(self: Any, event: Any, row: Any) -> None: ...

    on_opened.__annotations__ = {"event": Opened, "row": model}
    arguments = {"name": "balances", "revision": revision}
    return types.new_class(
        "Balances", (Projection[model],), arguments, lambda body: body.update(on_opened=projects(on_opened))
    )


def test_another_revision_or_shape_must_be_rebuilt(stores):
    def made(projection: Any) -> ProjectionStore:
        return stores(projection, App("bank", aggregates=[Account], consumers=[projection], partitions=4))

    original = made(variant())
    original.prepare(topics(original))
    made(variant()).prepare(topics(original))
    other_shape = "its columns, types, keys or constraints are not those of the read model any more"
    for other, reason, detail in (
        (variant(revision=2), "it was built by revision 1, and this is revision 2", ""),
        (variant(n=(Mapped[int | None], None)), other_shape, ": the column 'n' of the class is not in the table"),
    ):
        store = made(other)
        with pytest.raises(
            ReadModelOutdated, match=f"{reason}{detail}; rebuild it with `eventsource projections rebuild balances`"
        ):
            store.prepare(topics(store))
        with pytest.raises(ReadModelOutdated, match=reason):
            store.apply([], [move(0, 1)])


def test_a_table_of_somebody_else_is_left_alone(stores, tables, settings):
    store = stores()
    tables(f'CREATE SCHEMA "{store.schema}"')
    tables("CREATE TABLE balances (mine int)")
    with pytest.raises(
        ReadModelOutdated, match="a table of that name is there, which no projection is recorded to have made"
    ):
        store.prepare(topics(store))


def test_a_table_that_is_gone_must_be_rebuilt(stores, tables):
    store = stores()
    store.prepare(topics(store))
    tables("DROP TABLE balances")
    with pytest.raises(ReadModelOutdated, match="its table 'balances' is gone"):
        store.prepare(topics(store))


def test_an_aggregate_that_is_added_later_begins_at_its_start(stores, tables):
    store = stores()
    store.prepare(topics(store))
    store.apply([deposit(5)], [move(0, 1)])
    more = [*topics(store), Topic("added", bytes(16), 2)]
    store.prepare(more)
    store.prepare(more)
    assert store.read_positions(more)["added", 1] == 0
    assert store.read_positions(more)[topics(store)[0].name, 0] == 1


def test_a_missing_index_is_made(stores, tables):
    for column in (None, mapped_column(index=True), mapped_column(index=True)):
        projection = variant(n=(Mapped[int | None], column))
        store = stores(projection, App("bank", aggregates=[Account], consumers=[projection], partitions=4))
        store.prepare(topics(store))
    found = tables("SELECT indexname FROM pg_indexes WHERE schemaname = %s", [store.schema])
    assert any(name.endswith("balances_n") for (name,) in found)


# --- beside a rebuild --------------------------------------------------------------------------------------------


def test_batches_wait_for_a_rebuild_and_a_rebuild_that_dies_leaves_no_flag(stores, settings, until):
    store = stores()
    store.prepare(topics(store))
    with psycopg.connect(settings.postgres.url) as rebuilding:
        rebuilding.execute("SELECT pg_advisory_lock(%s)", [store.lock])
        with pytest.raises(ReadModelRebuilding):
            store.apply([deposit(5)], [move(0, 1)])
        with pytest.raises(ReadModelRebuilding):
            store.read_positions(topics(store))

    def applied() -> bool:
        try:
            store.apply([deposit(5)], [move(0, 1)])
        except ReadModelRebuilding:  # the server has not noticed yet that the other connection is closed
            return False
        return True

    until(applied)


# --- a connection that breaks ------------------------------------------------------------------------------------


def test_a_connection_that_breaks_is_made_anew(stores, tables):
    store = stores()
    store.prepare(topics(store))
    pid = store.database.connection().info.backend_pid
    tables("SELECT pg_terminate_backend(%s)", [pid])
    with pytest.raises(DatabaseUnavailable, match=r"broke|could not go on"):
        store.apply([deposit(5)], [move(0, 1)])
    store.apply([deposit(5)], [move(0, 1)])
    assert balance(tables) == Decimal("5.00")


def test_a_statement_that_takes_too_long_is_given_up(stores, settings):
    quick = settings.postgres.model_copy(update={"statement_timeout_seconds": 0.2})
    database = Database(quick, application_name="quick")
    with (
        pytest.raises(DatabaseUnavailable, match=r"took longer than 0.2 s.*STATEMENT_TIMEOUT_SECONDS"),
        database.transaction() as connection,
    ):
        connection.execute("SELECT pg_sleep(5)")
    database.close()


# --- values ------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "r"
    BLUE = "b"


def everything(**more: Any) -> Any:
    class Everything(ReadModel):
        __tablename__ = "everything"
        id: Mapped[str] = mapped_column(primary_key=True)
        number: Mapped[int] = mapped_column(default=2**40)
        flag: Mapped[bool] = mapped_column(default=True)
        ratio: Mapped[float] = mapped_column(default=0.1)
        amount: Mapped[Decimal] = mapped_column(default=Decimal("123456789012345678901234567890.123456789"))
        at: Mapped[datetime] = mapped_column(default=datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC))
        day: Mapped[date] = mapped_column(default=date(2024, 5, 6))
        hour: Mapped[time] = mapped_column(default=time(7, 8, 9, 1))
        lasting: Mapped[timedelta] = mapped_column(default=timedelta(days=2, microseconds=3))
        raw: Mapped[bytes] = mapped_column(default=b"\0\xff")
        identity: Mapped[UUID] = mapped_column(default=UUID("6c84fb90-12c4-11e1-840d-7b25c5ee775a"))
        colour: Mapped[Colour] = mapped_column(default=Colour.BLUE)
        tags: Mapped[dict[str, Any]] = mapped_column(default_factory=lambda: {"a": [1, None, "ü"]})
        lines: Mapped[list[int]] = mapped_column(default_factory=lambda: [1, 2])
        maybe: Mapped[Decimal | None]
        maybe_tags: Mapped[dict[str, Any] | None]

    return Everything


def arrays() -> Any:
    class Arrays(ReadModel):
        __tablename__ = "everything"
        id: Mapped[str] = mapped_column(primary_key=True)
        words: Mapped[list[str]] = mapped_column(ARRAY(Text()), default_factory=lambda: ["x", "y"])

    return Arrays


@pytest.mark.parametrize("make", [everything, arrays])
@pytest.mark.parametrize("shared", [False, True])
def test_every_value_comes_back_as_it_went(stores, tables, make, shared):
    model = make()
    seen: list[Any] = []

    class Values(Projection[model], name="values"):  # type: ignore[valid-type]
        @projects(key=(lambda event: event.text) if shared else None)
        def on_noted(self, event: Noted, row: model) -> None:  # type: ignore[valid-type]
            seen.append(repr(row))

    store = stores(Values, App("bank", aggregates=[Account, Branch], consumers=[Values], partitions=4))
    assert store.plan.locked is shared
    store.prepare(topics(store))
    now = datetime(2024, 1, 1, tzinfo=UTC)
    events = [Recorded("account", f"a{n}", 1, Noted(text=f"a{n}"), now, "c", 1, 1, 0, 0) for n in range(3)]
    store.apply(events, [move(0, 1)])
    store.apply(events, [move(1, 2)])
    assert seen[:3] == seen[3:]
    assert tables("SELECT count(*) FROM everything") == [(3,)]


def test_sql_null_stands_for_none_in_json(stores, tables):
    model = everything()

    class Values(Projection[model], name="values"):  # type: ignore[valid-type]
        @projects
        def on_noted(self, event: Noted, row: model) -> None: ...  # type: ignore[valid-type]

    store = stores(Values, App("bank", aggregates=[Account, Branch], consumers=[Values], partitions=4))
    store.prepare(topics(store))
    now = datetime(2024, 1, 1, tzinfo=UTC)
    store.apply([Recorded("account", "a", 1, Noted(text=""), now, "c", 1, 1, 0, 0)], [move(0, 1)])
    assert tables("SELECT maybe_tags IS NULL, colour, tags->'a'->>2 FROM everything") == [(True, "BLUE", "ü")]


class Shade(StrEnum):
    DARK = "dark"


def test_values_of_kin_types_are_stored_together(stores, tables):
    class Mixed(ReadModel):
        __tablename__ = "mixed"
        id: Mapped[str] = mapped_column(primary_key=True)
        amount: Mapped[Decimal] = mapped_column(default=0)
        ratio: Mapped[float] = mapped_column(default=0)
        number: Mapped[int] = mapped_column(default=0)
        shade: Mapped[str | None]

    class Mixing(Projection[Mixed], name="mixing"):
        @projects
        def on_noted(self, event: Noted, row: Mixed) -> None:
            if event.text == "some":
                row.amount, row.ratio, row.number, row.shade = Decimal("1.50"), 0.5, True, Shade.DARK
            elif event.text == "float":
                row.amount = 0.1
            else:
                row.shade = "light"

    store = stores(Mixing, App("bank", aggregates=[Account, Branch], consumers=[Mixing], partitions=4))
    store.prepare(topics(store))
    now = datetime(2024, 1, 1, tzinfo=UTC)

    def note(name: str, text: str) -> Recorded:
        return Recorded("account", name, 1, Noted(text=text), now, "c", 1, 1, 0, 0)

    store.apply([note("a", "some"), note("b", "none")], [move(0, 1)])
    assert tables("SELECT * FROM mixed ORDER BY 1") == [
        ("a", Decimal("1.50"), 0.5, 1, "dark"),
        ("b", Decimal(0), 0.0, 0, "light"),
    ]
    with pytest.raises(ProjectionFailed, match=r"of 'c' .*amount is Decimal, and was set to 0.1, a float"):
        store.apply([note("a", "some"), note("c", "float"), note("d", "some")], [move(1, 2)])


# --- permissions -------------------------------------------------------------------------------------------------


@pytest.fixture
def writer_settings(settings, tables):
    """Settings of a user who may read and write rows, and make nothing."""
    user = f"writer_{settings.namespace.replace('-', '_')}"
    try:
        tables(f"CREATE ROLE {user} LOGIN PASSWORD 'w'")
    except psycopg.errors.InsufficientPrivilege:
        pytest.skip("the user of these servers may not make others")
    parts = urlsplit(settings.postgres.url)
    url = urlunsplit(parts._replace(netloc=f"{user}:w@{parts.hostname}:{parts.port}"))
    yield user, settings.model_copy(update={"postgres": settings.postgres.model_copy(update={"url": url})})
    tables(f"GRANT {user} TO CURRENT_USER")  # who creates a role may do that, and needs it to drop what the role owns
    tables(f"DROP OWNED BY {user}")
    tables(f"DROP ROLE {user}")


def test_a_user_who_may_only_write_rows_can_work_once_the_tables_are_there(stores, tables, writer_settings):
    user, settings = writer_settings
    maker = stores()
    writer = ProjectionStore(maker.plan, Database(settings.postgres, application_name="writer"))
    with pytest.raises(DatabaseRefused, match=r"permission denied.*grant it to the user of EVENTSOURCE_POSTGRES__URL"):
        writer.prepare(topics(writer))
    maker.prepare(topics(maker))
    tables(f"GRANT USAGE ON SCHEMA {maker.schema} TO {user}")
    tables(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {maker.schema} TO {user}")
    writer.prepare(topics(writer))
    writer.apply([deposit(5)], [move(0, 1)])
    writer.database.close()
    assert balance(tables) == Decimal("5.00")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://nobody:pw@{host}/eventsource", "it refused the user .*check user, password and pg_hba.conf"),
        (
            "postgresql://{user}@{host}/nowhere",
            "the database is missing .*create it, or name another in EVENTSOURCE_POSTGRES__URL",
        ),
        ("postgresql://{user}@127.0.0.1:1/x", "no connection .*check that it runs"),
        ("postgresql://{user}@no-such-host.invalid/x", "its host name is unknown .*check EVENTSOURCE_POSTGRES__URL"),
    ],
)
def test_why_there_is_no_connection(settings, url, message):
    parts = urlsplit(settings.postgres.url)
    user, _, host = parts.netloc.rpartition("@")
    wrong = settings.postgres.model_copy(
        update={"url": url.format(host=host, user=user), "connect_timeout_seconds": 2.0}
    )
    with pytest.raises(DatabaseUnavailable, match=message) as caught:
        Database(wrong, application_name="test").connection()
    assert (parts.password or "pw") not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "locked", "column"),
    [("nul \0 byte", False, "text"), ("lone \ud800 surrogate", False, "text"), ("nul \0 byte", True, "text")],
)
def test_a_value_that_no_column_can_hold_is_named_with_event_row_and_column(stores, monkeypatch, text, locked, column):
    projection = noting(mapped_column(default=None))
    store = stores(projection, App("bank", aggregates=[Account], consumers=[projection], partitions=4))
    monkeypatch.setattr(store.plan, "locked", locked)
    store.prepare(topics(store))
    with pytest.raises(
        ProjectionFailed, match=rf"the row \('bad',\) of 'noted' .*because of column '{column}'"
    ) as failure:
        store.apply([note("a", "1"), note("bad", text, 3), note("c", "3")], [move(0, 1)])
    assert (failure.value.row, failure.value.column, failure.value.version) == (("bad",), column, 3)


def test_an_id_that_postgres_cannot_hold_names_the_key_column(stores, tables):
    projection = noting(None)
    store = stores(projection, App("bank", aggregates=[Account], consumers=[projection], partitions=4))
    store.prepare(topics(store))
    with pytest.raises(ProjectionFailed, match=r"of 'b\\x00d' \(version 1.*because of column 'id': .*NUL") as failure:
        store.apply([note("a", "1"), note("b\0d", "2"), note("c", "3")], [move(0, 1)])
    assert (failure.value.row, failure.value.column) == (("b\0d",), "id")


def test_a_missing_value_is_named_with_its_column(stores):
    class Row(ReadModel):
        __tablename__ = "noted"
        id: Mapped[str] = mapped_column(primary_key=True)
        text: Mapped[str]

    class Noting(Projection[Row], name="noting"):
        @projects
        def on_noted(self, event: Noted, row: Row) -> None:
            row.text = event.text or None  # type: ignore[assignment]

    store = stores(Noting, App("bank", aggregates=[Account], consumers=[Noting], partitions=4))
    store.prepare(topics(store))
    with pytest.raises(ProjectionFailed, match=r"because of column 'text': null value") as failure:
        store.apply([note("a", "1"), note("bad", ""), note("c", "3")], [move(0, 1)])
    assert (failure.value.row, failure.value.column, failure.value.aggregate_id) == (("bad",), "text", "bad")
