"""Reading a read model, over SQLite's connections in place of Postgres' and a registry that the test writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self, cast

import pytest
from sqlalchemy import QueuePool, create_engine, text
from sqlalchemy.orm import Mapped, mapped_column

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event, creates
from eventsource.errors import DatabaseUnavailable, NotCaughtUp, ReadModelOutdated
from eventsource.log.token import Token
from eventsource.settings import PostgresSettings, Settings
from projections import Projection, ReadModel, projects
from projections.plan import Plan
from projections.reader import ProjectionReader
from projections.registry import Registered
from projections.store import Topic


class Opened(Event, name="opened"):
    owner: str


class Open(Command, name="open"):
    owner: str


class Account(Aggregate, name="account"):
    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()


class Balance(ReadModel):
    __tablename__ = "balances"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str | None]


class Balances(Projection[Balance], name="balances"):
    @projects
    def on_opened(self, event: Opened, row: Balance) -> None:
        row.owner = event.owner


TOKEN = Token(b"0123456789abcdef", 0, 5, "a", 1)


class Recorded:
    """What the database has recorded of the projection."""

    def __init__(self) -> None:
        self.registered: Registered | None = None
        self.position: int | None = None

    def find(self, _connection: Any, _name: str) -> Registered | None:
        return self.registered

    def read_one(self, *_place: Any) -> int | None:
        return self.position


class Reading:
    """A reader and what its database has recorded."""

    def __init__(self) -> None:
        app = App("bank", aggregates=[Account], consumers=[Balances], partitions=1)
        settings = Settings(postgres=PostgresSettings(reader_connections=1, connect_timeout_seconds=0.05))
        self.reader = ProjectionReader(Plan(Balances.__definition__, app), settings)
        self.recorded = Recorded()
        # the one place where the reader meets its servers is replaced, not what it makes of their answers
        held = cast(Any, self.reader)
        pool = held._engine.pool
        held._engine = create_engine(
            "sqlite://",
            poolclass=QueuePool,
            pool_size=pool.size(),
            max_overflow=pool._max_overflow,
            pool_timeout=pool.timeout(),
        )
        held._registry = held._positions = self.recorded
        held._topics = {TOKEN.topic_id: Topic("bank.account.events", TOKEN.topic_id, 1)}
        self.table = held._table

    def built_by(self, revision: int) -> None:
        self.recorded.registered = Registered("balances", revision, self.table.name, self.table.shape, ())


@pytest.fixture
def reading() -> Iterator[Reading]:
    found = Reading()
    yield found
    found.reader.close()


def test_waiting_goes_on_while_only_other_projections_of_the_app_were_begun(reading: Reading) -> None:
    with pytest.raises(NotCaughtUp, match="nothing has been projected yet"):
        reading.reader.wait_for(TOKEN, 0.01)


def test_waiting_for_what_another_revision_built_ends_at_once(reading: Reading) -> None:
    reading.built_by(2)
    with pytest.raises(ReadModelOutdated, match="built by revision 2"):
        reading.reader.wait_for(TOKEN, 60)


def test_a_reader_stops_reading_once_another_revision_rebuilt_the_table(reading: Reading) -> None:
    reading.built_by(1)
    with reading.reader.session() as session:
        assert session.execute(text("SELECT 1")).scalar() == 1
    reading.built_by(2)
    with pytest.raises(ReadModelOutdated, match="built by revision 2"), reading.reader.session():
        pass


def test_a_session_lets_its_caller_begin_the_transaction(reading: Reading) -> None:
    reading.built_by(1)
    with reading.reader.session() as session, session.begin():
        assert session.execute(text("SELECT 1")).scalar() == 1


def test_sessions_beyond_the_pool_are_told_what_to_do(reading: Reading) -> None:
    reading.built_by(1)
    said = r"all 1 connections .* for 0.05 s: end each session .* EVENTSOURCE_POSTGRES__READER_CONNECTIONS"
    with reading.reader.session():
        with pytest.raises(DatabaseUnavailable, match=said), reading.reader.session():
            pass
        with pytest.raises(DatabaseUnavailable, match=said):
            reading.reader.wait_for(TOKEN, 0.01)
    with reading.reader.session() as session:
        assert session.execute(text("SELECT 1")).scalar() == 1


def test_the_pool_is_as_large_and_as_patient_as_the_settings_say() -> None:
    app = App("bank", aggregates=[Account], consumers=[Balances], partitions=1)
    for connections in (1, 5, 20):
        settings = Settings(postgres=PostgresSettings(reader_connections=connections, connect_timeout_seconds=1.5))
        reader = ProjectionReader(Plan(Balances.__definition__, app), settings)
        pool = cast(Any, reader)._engine.pool
        assert (pool.size() + pool._max_overflow, pool.timeout()) == (connections, 1.5)
        reader.close()
