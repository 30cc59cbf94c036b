"""A table and its class: every difference is made by a rebuild, and named before it."""

from __future__ import annotations

import itertools
import random
import types
from typing import Any

import pytest
from bank_app import Account, Noted, Opened, bank
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from eventsource.app import App
from eventsource.consuming.database import Database
from eventsource.consuming.locks import lock_for_session
from eventsource.errors import ReadModelOutdated, ReadModelRebuilding
from eventsource.log.admin import LogAdmin
from projections import Projection, ReadModel, projects, rebuild
from projections.feed import find_topics
from projections.plan import Plan
from projections.reader import ProjectionReader
from projections.rebuild import rebuild_if_changed
from projections.status import State, projection_statuses
from projections.store import ProjectionStore, Topic

TEXT = Mapped[str | None]


def projection(*arguments: Any, **columns: Any) -> Any:
    """A projection whose table has these arguments, and the columns `id`, `name`, `n` unless they are given."""
    given = {
        "id": (Mapped[str], mapped_column(primary_key=True)),
        "name": (TEXT, None),
        "n": (Mapped[int | None], None),
    } | columns
    model = types.new_class(
        "Row",
        (ReadModel,),
        {},
        lambda body: body.update(
            __tablename__="laid",
            __table_args__=arguments,
            __module__=__name__,
            __annotations__={name: annotation for name, (annotation, _) in given.items()},
            **{name: column for name, (_, column) in given.items() if column is not None},
        ),
    )

    def on_opened(self: Any, event: Any, row: Any) -> None: ...

    on_opened.__annotations__ = {"event": Opened | Noted, "row": model}
    return types.new_class(
        "Laid",
        (Projection[model],),
        {"name": "laid"},
        lambda body: body.update(on_opened=projects(key=lambda event: event)(on_opened)),
    )


# What each variant asks for besides columns, and whether it differs from `plain` in the columns.
VARIANTS: dict[str, Any] = {
    "plain": projection,
    "index": lambda: projection(name=(TEXT, mapped_column(index=True))),
    "index under another name": lambda: projection(Index("by_name", "name")),
    "that index on another column": lambda: projection(Index("by_name", "n")),
    "that index of both": lambda: projection(Index("by_name", "name", "n")),
    "unique index": lambda: projection(name=(TEXT, mapped_column(index=True, unique=True))),
    "index of an expression": lambda: projection(Index("by_name", text("lower(name)"))),
    "index of another expression": lambda: projection(Index("by_name", text("upper(name)"))),
    "partial index": lambda: projection(Index("by_name", "name", postgresql_where=text("n > 0"))),
    "another partial index": lambda: projection(Index("by_name", "name", postgresql_where=text("n > 1"))),
    "hash index": lambda: projection(Index("by_name", "name", postgresql_using="hash")),
    "covering index": lambda: projection(Index("by_name", "name", postgresql_include=["n"])),
    "unique": lambda: projection(name=(TEXT, mapped_column(unique=True))),
    "unique under a name": lambda: projection(UniqueConstraint("name", name="by_name")),
    "unique of both": lambda: projection(UniqueConstraint("name", "n", name="by_name")),
    "deferrable": lambda: projection(UniqueConstraint("name", name="by_name", deferrable=True, initially="DEFERRED")),
    "check": lambda: projection(CheckConstraint("n > 0")),
    "another check": lambda: projection(CheckConstraint("n > 1")),
    "check under a name": lambda: projection(CheckConstraint("n > 0", name="positive")),
    "foreign key": lambda: projection(name=(TEXT, mapped_column(ForeignKey("laid.id")))),
    "another foreign key": lambda: projection(name=(TEXT, mapped_column(ForeignKey("laid.id", ondelete="CASCADE")))),
    "default": lambda: projection(n=(Mapped[int | None], mapped_column(server_default="5"))),
    "another default": lambda: projection(n=(Mapped[int | None], mapped_column(server_default=text("5 + 1")))),
    "not null": lambda: projection(n=(Mapped[int], mapped_column(default=0))),
    "column": lambda: projection(more=(TEXT, None)),
    "another key": lambda: projection(n=(Mapped[int], mapped_column(primary_key=True, default=0))),
    "type": lambda: projection(n=(Mapped[Any], mapped_column(Numeric(10, 2), nullable=True))),
    "length": lambda: projection(name=(TEXT, mapped_column(String(10)))),
}
IN_PLACE = [name for name in VARIANTS if name not in ("not null", "column", "another key", "type", "length")]


@pytest.fixture
def store_of(settings):
    database = Database(settings.postgres, application_name="layout test")

    def make(variant: Any) -> ProjectionStore:
        app = App("bank", aggregates=[Account], consumers=[variant], partitions=4)
        return ProjectionStore(Plan(variant.__definition__, app, settings.namespace), database)

    yield make
    database.close()


def topics(store: ProjectionStore) -> list[Topic]:
    return [Topic(name, bytes(16), 4) for name in store.plan.aggregates]


def found(store: ProjectionStore) -> list[str]:
    with store.database.transaction() as connection:
        return [one.text for one in store.differences(connection)]


def emptied(store: ProjectionStore) -> list[str]:
    with store.database.transaction() as connection:
        return store.empty(connection, topics(store))


SAME = {("unique under a name", "unique"), ("check under a name", "check")}
"""Where the class gives no name, any does."""


def test_a_rebuild_from_any_class_to_any_other_leaves_no_difference(store_of, seed, sweep):
    stores = {name: store_of(make()) for name, make in VARIANTS.items()}
    first = stores["plain"]
    first.prepare(topics(first))
    pairs = list(itertools.permutations(VARIANTS, 2))
    random.Random(seed).shuffle(pairs)
    pairs.sort(key=lambda pair: "plain" not in pair)
    for before, after in pairs[: sweep.times(90, len(pairs))]:
        emptied(stores[before])
        assert found(stores[before]) == [], f"{before}, after some other"
        is_same = (before, after) in SAME
        assert (found(stores[after]) == []) is is_same, f"from {before} to {after}: a difference that is not seen"
        assert (emptied(stores[after]) == []) is is_same
        assert found(stores[after]) == [], f"from {before} to {after}"


@pytest.mark.parametrize("name", [name for name in IN_PLACE if name != "plain"])
def test_a_rebuild_that_changes_no_column_keeps_views_and_grants(store_of, tables, name):
    plain, other = store_of(VARIANTS["plain"]()), store_of(VARIANTS[name]())
    plain.prepare(topics(plain))
    tables("CREATE VIEW seen AS SELECT id FROM laid")
    tables("GRANT SELECT ON laid TO PUBLIC")
    for store in (other, plain):
        emptied(store)
        assert tables("SELECT has_table_privilege('public', 'laid', 'SELECT')") == [(True,)]
        assert tables("SELECT * FROM seen") == []


def test_an_index_that_is_taken_out_of_the_class_is_named_until_a_rebuild_drops_it(store_of, tables):
    with_index, without = store_of(VARIANTS["partial index"]()), store_of(VARIANTS["plain"]())
    with_index.prepare(topics(with_index))
    for _ in range(2):
        (text,) = without.prepare(topics(without))
        assert text == (
            "the index 'by_name' of the table, USING btree (name) WHERE (n > 0), is not in the class: "
            f'DROP INDEX "{without.schema}"."by_name"'
        )
    tables(text.rpartition(": ")[2])
    assert without.prepare(topics(without)) == []
    assert with_index.prepare(topics(with_index)) == []
    emptied(without)
    assert tables("SELECT 1 FROM pg_indexes WHERE indexname = 'by_name' AND schemaname = %s", [without.schema]) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("CREATE INDEX mine ON laid (n)", "the index 'mine' of the table, USING btree (n), is not in the class"),
        ("ALTER TABLE laid ADD CONSTRAINT mine CHECK (n > 7)", "the constraint 'mine' of the table, CHECK"),
        ("ALTER TABLE laid ADD CONSTRAINT mine UNIQUE (n)", "the constraint 'mine' of the table, UNIQUE (n), is"),
        (
            "ALTER TABLE laid ALTER n SET DEFAULT 3",
            "the column 'n' has the default 3 in the table and None in the class",
        ),
        ("ALTER TABLE laid ADD mine int", "the column 'mine' of the table is not in the class"),
    ],
)
def test_what_somebody_changed_by_hand_is_named_and_taken_back_by_a_rebuild(store_of, tables, change, text):
    store = store_of(VARIANTS["plain"]())
    store.prepare(topics(store))
    tables(change)
    (found_,) = store.prepare(topics(store))
    assert found_.startswith(text)
    store.read_positions(topics(store))
    emptied(store)
    assert store.prepare(topics(store)) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("ALTER TABLE laid DROP COLUMN name", "the column 'name' of the class is not in the table"),
        (
            "ALTER TABLE laid ALTER name TYPE varchar(3)",
            "the column 'name' is character varying(3) NULL in the table and text NULL in the class",
        ),
        ("ALTER TABLE laid ALTER n SET NOT NULL", "the column 'n' is bigint NOT NULL in the table and bigint NULL"),
        ("ALTER TABLE laid ADD mine int NOT NULL", "the column 'mine' of the table is not in the class"),
    ],
)
def test_a_table_into_which_rows_do_not_fit_must_be_rebuilt(store_of, tables, change, text):
    store = store_of(VARIANTS["plain"]())
    store.prepare(topics(store))
    tables(change)
    with pytest.raises(ReadModelOutdated) as caught:
        store.prepare(topics(store))
    assert text in str(caught.value)
    assert "rebuild it with `eventsource projections rebuild laid`" in str(caught.value)
    emptied(store)
    assert store.prepare(topics(store)) == []


def test_a_class_that_asks_for_another_constraint_says_which(store_of):
    plain, checked = store_of(VARIANTS["plain"]()), store_of(VARIANTS["check under a name"]())
    plain.prepare(topics(plain))
    with pytest.raises(
        ReadModelOutdated, match=r"the constraint 'positive' of the class, CHECK \(\(n > 0\)\), is not in the table"
    ):
        checked.prepare(topics(checked))


def test_a_unique_index_that_the_rows_contradict_is_named(store_of, tables):
    plain, unique = store_of(VARIANTS["plain"]()), store_of(VARIANTS["unique index"]())
    plain.prepare(topics(plain))
    tables("INSERT INTO laid (id, name) VALUES ('a', 'x'), ('b', 'x')")
    with pytest.raises(
        ReadModelOutdated, match=r"an index of the class does not fit the rows: could not create unique index"
    ):
        unique.prepare(topics(unique))


def test_the_temporary_table_is_gone_and_shadows_nothing(store_of):
    store = store_of(VARIANTS["partial index"]())
    store.prepare(topics(store))
    store.prepare(topics(store))
    with store.database.transaction() as connection:
        assert connection.execute("SELECT to_regclass('pg_temp.laid')").fetchone() == (None,)


def test_where_no_temporary_table_may_be_made_nothing_is_compared_and_work_goes_on(store_of):
    store = store_of(VARIANTS["index"]())
    store.prepare(topics(store))
    with store.database.transaction() as connection:
        connection.execute("SET LOCAL transaction_read_only = on")
        assert store.differences(connection) is None
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_differences_are_listed_and_a_rebuild_reports_what_it_changed(log, settings, tables):
    rebuild(bank, "balances", settings)
    tables("CREATE INDEX mine ON balances (events)")
    listed = {status.name: status for status in projection_statuses(bank, settings)}["balances"]
    assert (listed.state, [text.partition(" of ")[0] for text in listed.differences]) == (
        State.CAUGHT_UP,
        ["the index 'mine'"],
    )
    tables("ALTER TABLE balances ALTER events DROP NOT NULL")
    assert {status.name: status.state for status in projection_statuses(bank, settings)}["balances"] is State.OUTDATED
    assert len(rebuild(bank, "balances", settings).changes) == 2
    assert rebuild(bank, "balances", settings).changes == ()
    listed = {status.name: status for status in projection_statuses(bank, settings)}["balances"]
    assert (listed.state, listed.differences) == (State.CAUGHT_UP, ())
    tables("DROP TABLE balances")
    assert {status.name: status.state for status in projection_statuses(bank, settings)}["balances"] is State.OUTDATED


@pytest.mark.parametrize("type_", [SmallInteger, Integer, BigInteger, None])
def test_an_integer_key_has_no_sequence_and_no_difference(store_of, tables, type_):
    key = (Mapped[int], mapped_column(*([] if type_ is None else [type_]), primary_key=True))
    store = store_of(projection(id=key))
    for _ in range(2):
        assert store.prepare(topics(store)) == []
        assert emptied(store) == []
    assert tables("SELECT 1 FROM pg_sequences WHERE schemaname = %s", [store.schema]) == []


@pytest.mark.parametrize("serial", ["SMALLSERIAL", "SERIAL", "BIGSERIAL"])
def test_an_integer_key_that_an_earlier_release_made_serial_is_no_difference(store_of, tables, serial):
    type_ = {"SMALLSERIAL": SmallInteger, "SERIAL": Integer, "BIGSERIAL": BigInteger}[serial]
    store = store_of(projection(id=(Mapped[int], mapped_column(type_, primary_key=True))))
    store.prepare(topics(store))
    tables("ALTER TABLE laid DROP COLUMN id")
    tables(f"ALTER TABLE laid ADD COLUMN id {serial} PRIMARY KEY")
    assert store.prepare(topics(store)) == []
    assert emptied(store) == []


NEIGHBOURS: dict[str, Any] = {
    "checks": lambda: [CheckConstraint("n < 100"), CheckConstraint("n > 0")],
    "uniques": lambda: [UniqueConstraint("n", deferrable=True), UniqueConstraint("n")],
    "foreign keys": lambda: [
        ForeignKeyConstraint(["name"], ["laid.id"]),
        ForeignKeyConstraint(["name"], ["laid.id"], ondelete="CASCADE"),
    ],
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_constraint_without_a_name_is_added_beside_any_other(store_of, tables, name):
    both = store_of(projection(*NEIGHBOURS[name]()))
    both.prepare(topics(both))
    for i in range(2):
        one = store_of(projection(NEIGHBOURS[name]()[i]))
        tables("DROP TABLE laid CASCADE")  # made again, it has the name that Postgres gives to the first of both
        for store in (one, both):
            assert emptied(store) != [] or store is one
            assert store.prepare(topics(store)) == []
            assert emptied(store) == []


@pytest.mark.parametrize(
    "additions",
    [
        ["ADD mine int"],
        ["ADD mine int NOT NULL DEFAULT 3"],
        ["ADD mine int NOT NULL"],
        ["ADD mine int UNIQUE CHECK (mine > 0)", "ADD CHECK (mine > n)", "ADD UNIQUE (n, mine)"],
    ],
)
def test_a_rebuild_drops_a_column_that_is_only_in_the_table_and_keeps_the_rest(store_of, tables, additions):
    store = store_of(VARIANTS["index"]())
    store.prepare(topics(store))
    tables("CREATE VIEW seen AS SELECT id FROM laid")
    tables("GRANT SELECT ON laid TO PUBLIC")
    for addition in additions:
        tables(f"ALTER TABLE laid {addition}")
    tables("CREATE INDEX of_mine ON laid (mine, n)")
    assert "the column 'mine' of the table is not in the class" in found(store)
    emptied(store)
    assert tables("SELECT has_table_privilege('public', 'laid', 'SELECT')") == [(True,)]
    assert tables("SELECT * FROM seen") == []
    assert store.prepare(topics(store)) == []


def test_a_column_that_is_only_in_the_table_is_logged_with_the_statement_that_drops_it(store_of, tables):
    store = store_of(VARIANTS["plain"]())
    store.prepare(topics(store))
    tables("ALTER TABLE laid ADD mine int")
    (text,) = store.prepare(topics(store))
    assert text.endswith(f': ALTER TABLE "{store.schema}"."laid" DROP COLUMN "mine"')
    tables(text.rpartition(": ")[2])
    assert store.prepare(topics(store)) == []


def test_a_constraint_that_is_only_written_otherwise_is_no_difference_to_worker_reader_and_list(
    log, store_of, settings, tables
):
    first, second = (projection(CheckConstraint(text, name="positive")) for text in ("n>0", "n > 0"))
    before, after = store_of(first), store_of(second)
    admin = LogAdmin(settings.kafka.client_config(), request_timeout_seconds=settings.kafka.request_timeout_seconds)
    topics = find_topics(before.plan, admin)
    admin.close()
    before.prepare(topics)
    tables("CREATE INDEX mine ON laid (n)")  # something else that differs, and does not matter to the shape
    app = App("bank", aggregates=[Account], consumers=[second], partitions=4)
    assert projection_statuses(app, settings)[0].state is State.CAUGHT_UP
    after.prepare(topics)
    for store in (before, after):  # while both versions of the code run
        store.prepare(topics)
        store.read_positions(topics)
        reader = ProjectionReader(store.plan, settings)
        with reader.session() as session:
            assert session.execute(text("SELECT count(*) FROM laid")).scalar() == 0
        reader.close()
    emptied(after)
    with pytest.raises(ReadModelOutdated):  # the rebuild is of the one class alone
        before.read_positions(topics)


def test_a_class_that_is_written_otherwise_and_asks_for_something_else_too_is_refused(store_of):
    before = store_of(projection(CheckConstraint("n>0", name="positive")))
    after = store_of(projection(CheckConstraint("n > 0", name="positive"), CheckConstraint("n > 1", name="more")))
    before.prepare(topics(before))
    with pytest.raises(ReadModelOutdated, match="the constraint 'more' of the class"):
        after.prepare(topics(after))
    before.read_positions(topics(before))


def test_a_read_model_that_is_being_rebuilt_is_not_said_to_be_as_its_class_asks_for(log, settings, store_of):
    rebuild(bank, "balances", settings)
    assert rebuild_if_changed(bank, "balances", settings) is None
    store = store_of(bank.consumers["balances"])
    lock_for_session(store.database.connection(), store.lock)
    with pytest.raises(ReadModelRebuilding, match="'balances' is being rebuilt already: wait until that is done"):
        rebuild_if_changed(bank, "balances", settings)
