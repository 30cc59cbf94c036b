"""What `TestApp` adds to sending commands: appending events, loading states, and time travel."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Self

import pytest
from pydantic import Field

from eventsource import (
    Aggregate,
    App,
    Command,
    CommandIdReused,
    Event,
    HandlerFailed,
    NotFound,
    Rejected,
    VersionConflict,
    VersionNotReached,
    applies,
    creates,
    decides,
    invariant,
)
from eventsource.errors import DefinitionError, EncodeError, InvalidArgument, LoadFailed, NoExactForm
from eventsource.log.partitioner import partition_for
from eventsource.testing import TestApp

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]


class Open(Command, name="open"):
    owner: str


class Opened(Event, name="opened"):
    owner: str


class Deposited(Event, name="deposited", revision=2):
    amount: Money


class Stranger(Event, name="stranger"):
    pass


class Overdrawn(Rejected, code="overdrawn"):
    balance: Money


class Account(Aggregate, name="account"):
    owner: str
    balance: Money = Decimal("0.00")
    tags: list[str]

    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls(owner=event.owner, tags=[])

    @applies
    def on_deposited(self, event: Deposited) -> None:
        if event.amount == 13:
            raise ZeroDivisionError("unlucky")
        self.balance += event.amount

    @invariant
    def never_overdrawn(self) -> None:
        if self.balance < 0:
            raise Overdrawn(balance=self.balance)


class Opaque(Aggregate, name="opaque"):
    held: object = None

    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls(held=object())

    @decides
    def again(self, command: Open) -> None:
        return None


@pytest.fixture
def app() -> TestApp:
    return TestApp(App("bank", aggregates=[Account, Opaque], partitions=2))


def test_appended_events_are_applied_and_their_state_is_loaded(app: TestApp) -> None:
    receipt = app.append(Account, "1", [Opened(owner="Ada"), Deposited(amount=Decimal(5))], expected_version=0)
    assert receipt.version == 2
    loaded = app.load(Account, "1")
    assert loaded.state == Account(owner="Ada", balance=Decimal(5), tags=[])
    assert (loaded.version, loaded.token) == (2, receipt.token)
    assert app.events(Account) == [Opened(owner="Ada"), Deposited(amount=Decimal(5))]


def test_a_loaded_state_is_the_callers_own(app: TestApp) -> None:
    app.append(Account, "1", [Opened(owner="Ada")], expected_version=0)
    app.load(Account, "1").state.tags.append("mine")
    assert app.load(Account, "1").state.tags == []


def test_a_conflict_carries_the_actual_version_and_leaves_nothing(app: TestApp) -> None:
    app.append(Account, "1", [Opened(owner="Ada")], expected_version=0)
    for expected in (0, 2):
        with pytest.raises(VersionConflict) as conflict:
            app.append(Account, "1", [Deposited(amount=Decimal(5))], expected_version=expected)
        assert (conflict.value.expected, conflict.value.actual) == (expected, 1)
    assert app.load(Account, "1").version == 1


def test_an_append_is_deduplicated_by_its_id(app: TestApp) -> None:
    first = app.append(Account, "1", [Opened(owner="Ada")], expected_version=0, command_id="a-1")
    assert app.append(Account, "1", [Opened(owner="Ada")], expected_version=0, command_id="a-1") == first
    with pytest.raises(CommandIdReused):
        app.append(Account, "1", [Opened(owner="Eve")], expected_version=0, command_id="a-1")


@pytest.mark.parametrize(
    ("amounts", "error"), [([5, 13], HandlerFailed), ([5, -6], Overdrawn)], ids=["applying raises", "invariant"]
)
def test_a_refused_append_leaves_no_part_of_it(app: TestApp, amounts: list[int], error: type[Exception]) -> None:
    app.append(Account, "1", [Opened(owner="Ada")], expected_version=0)
    with pytest.raises(error):
        app.append(Account, "1", [Deposited(amount=Decimal(amount)) for amount in amounts], expected_version=1)
    assert (app.load(Account, "1").version, app.load(Account, "1").state.balance) == (1, Decimal(0))
    assert app.events(Account) == [Opened(owner="Ada")]


def test_what_is_no_event_of_the_aggregate_is_refused_before_it_is_sent(app: TestApp) -> None:
    with pytest.raises(
        DefinitionError, match="Stranger is no event of 'account': append those that it applies: Deposited, Opened"
    ):
        app.append(Account, "1", [Opened(owner="Ada"), Stranger()], expected_version=0)
    with pytest.raises(DefinitionError, match="Open is no event"):
        app.append(Account, "1", [Open(owner="Ada")], expected_version=0)  # type: ignore[list-item]
    with pytest.raises(InvalidArgument, match="in a list"):
        app.append(Account, "1", Opened(owner="Ada"), expected_version=0)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="give at least one event"):
        app.append(Account, "1", [], expected_version=0)
    with pytest.raises(EncodeError, match="1 to 1000 events"):
        app.append(Account, "1", [Opened(owner="Ada")] * 1_001, expected_version=0)
    with pytest.raises(InvalidArgument, match="expected_version=-1"):
        app.append(Account, "1", [Opened(owner="Ada")], expected_version=-1)


def test_time_travel(app: TestApp) -> None:
    began = app.clock.now()
    for number in range(3):
        event = Deposited(amount=Decimal(number)) if number else Opened(owner="Ada")
        app.append(Account, "1", [event], expected_version=number)
        app.clock.advance(timedelta(hours=1))
    assert [app.load(Account, "1", at_version=n).state.balance for n in (1, 2, 3)] == [0, 1, 3]
    assert [app.load(Account, "1", at_time=began + timedelta(hours=n)).version for n in (0, 1, 9)] == [1, 2, 3]
    assert app.load(Account, "1", at_version=3) == app.load(Account, "1")
    with pytest.raises(VersionNotReached):
        app.load(Account, "1", at_version=4)
    with pytest.raises(NotFound):
        app.load(Account, "1", at_time=began - timedelta(hours=1))
    with pytest.raises(InvalidArgument):
        app.load(Account, "1", at_version=1, at_time=began)


def test_what_is_not_there_cannot_be_loaded(app: TestApp) -> None:
    with pytest.raises(NotFound):
        app.load(Account, "1")


def test_a_state_that_cannot_be_written_is_named_and_handles_its_commands(app: TestApp) -> None:
    app.send(Opaque, "1", Open(owner="Ada"))
    with pytest.raises(NoExactForm, match="held"):
        app.load(Opaque, "1")
    assert app.load(Opaque, "1", at_version=1).version == 1


def test_a_stopped_aggregate_cannot_be_loaded(app: TestApp) -> None:
    app.append(Account, "1", [Opened(owner="Ada")], expected_version=0)
    for handling in app._handlings.values():
        handling.states.stop("1", "account '1' is stopped: the log has a gap")
    with pytest.raises(
        LoadFailed, match="account '1' cannot be loaded: ForkDetected: account '1' is stopped"
    ) as failed:
        app.load(Account, "1")
    assert failed.value.error == "ForkDetected"
    assert isinstance(failed.value, HandlerFailed)


def test_a_command_id_is_known_within_its_partition_alone() -> None:
    app = TestApp(App("bank", aggregates=[Account], partitions=4))
    by_partition: dict[int, list[str]] = {}
    for id_ in map(str, range(20)):
        by_partition.setdefault(partition_for(id_.encode(), 4), []).append(id_)
    (first, second, *_), (elsewhere, *_) = by_partition[0], by_partition[1]
    app.send(Account, first, Open(owner="Ada"), command_id="c")
    with pytest.raises(CommandIdReused):
        app.send(Account, second, Open(owner="Ada"), command_id="c")
    assert app.send(Account, elsewhere, Open(owner="Ada"), command_id="c").version == 1
