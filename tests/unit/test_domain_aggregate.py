"""Aggregates: dataclasses whose methods handle the messages in their annotations."""

from __future__ import annotations

import dataclasses
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, Optional, Self, Union
from unittest import mock

import pytest
from pydantic import Field
from typing_extensions import TypeAliasType, TypeVar

from eventsource.domain import Aggregate, Command, Context, Event, Rejected, applies, creates, decides
from eventsource.errors import AlreadyExists, DefinitionError, NotFound
from tests.creatable import Creatable

Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]
CONTEXT = Context(id="acc-1", version=0, time=datetime(2000, 1, 1, tzinfo=UTC), command_id="c", correlation_id="c")


class OpenAccount(Command, name="open-account"):
    owner: str


class Deposit(Command, name="deposit", aliases=("pay-in",)):
    amount: Money


class Withdraw(Command, name="withdraw"):
    amount: Money


class AccountOpened(Event, name="account-opened"):
    owner: str


class Deposited(Event, name="deposited", aliases=("money-deposited",)):
    amount: Money


class Withdrawn(Event, name="withdrawn"):
    amount: Money


class InsufficientFunds(Rejected, code="insufficient_funds"):
    available: Decimal


AccountCommand = OpenAccount | Deposit | Withdraw


class Account(Aggregate[AccountCommand], name="account"):
    owner: str
    balance: Decimal = Decimal("0.00")

    @creates
    @classmethod
    def open(cls, command: OpenAccount) -> AccountOpened:
        return AccountOpened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: AccountOpened) -> Self:
        return cls(owner=event.owner)

    @decides
    def deposit(self, command: Deposit) -> Deposited:
        return Deposited(amount=command.amount)

    @applies
    def on_deposited(self, event: Deposited) -> None:
        self.balance += event.amount

    @decides
    def withdraw(self, command: Withdraw, context: Context) -> Withdrawn:
        if command.amount > self.balance:
            raise InsufficientFunds(available=self.balance)
        return Withdrawn(amount=command.amount)

    @applies
    def on_withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount


ACCOUNT = Account.__definition__


def test_an_aggregate_is_a_dataclass_with_keyword_only_fields() -> None:
    account = Account(owner="Ada")
    assert dataclasses.is_dataclass(Account)
    assert account == Account(owner="Ada", balance=Decimal(0))
    assert repr(account) == "Account(owner='Ada', balance=Decimal('0.00'))"
    with pytest.raises(TypeError):
        Account("Ada")


def test_a_field_without_a_default_may_follow_one_that_has_one() -> None:
    class Stock(Creatable, name="stock"):
        quantity: int = 0
        article: str
        tags: list[str] = field(default_factory=list)

    assert Stock(article="a").tags == []


def test_handlers_stay_callable_directly() -> None:
    account = Account.on_opened(Account.open(OpenAccount(owner="Ada")))
    account.on_deposited(account.deposit(Deposit(amount=Decimal(5))))
    assert account.withdraw(Withdraw(amount=Decimal(5)), CONTEXT) == Withdrawn(amount=Decimal(5))


def test_the_definition_knows_messages_by_name_and_alias() -> None:
    assert ACCOUNT.name == "account"
    assert ACCOUNT.aggregate is Account
    assert ACCOUNT.commands == {
        "open-account": OpenAccount,
        "deposit": Deposit,
        "pay-in": Deposit,
        "withdraw": Withdraw,
    }
    assert ACCOUNT.events == {
        "account-opened": AccountOpened,
        "deposited": Deposited,
        "money-deposited": Deposited,
        "withdrawn": Withdrawn,
    }
    assert ACCOUNT.creating_commands == {OpenAccount}


def test_a_definition_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ACCOUNT.commands["x"] = Deposit
    with pytest.raises(dataclasses.FrozenInstanceError):
        ACCOUNT.name = "x"


def test_a_story_from_creation_to_rejection() -> None:
    (opened,) = ACCOUNT.decide(None, OpenAccount(owner="Ada"), CONTEXT)
    state = ACCOUNT.evolve(None, opened)
    (deposited,) = ACCOUNT.decide(state, Deposit(amount=Decimal("5.00")), CONTEXT)
    assert ACCOUNT.evolve(state, deposited) is state
    assert state == Account(owner="Ada", balance=Decimal("5.00"))
    with pytest.raises(InsufficientFunds) as caught:
        ACCOUNT.decide(state, Withdraw(amount=Decimal("5.01")), CONTEXT)
    assert caught.value.available == Decimal("5.00")


def test_a_command_that_does_not_create_is_not_found_without_an_aggregate() -> None:
    with pytest.raises(NotFound) as caught:
        ACCOUNT.decide(None, Deposit(amount=Decimal(1)), CONTEXT)
    assert (caught.value.aggregate, caught.value.aggregate_id) == ("account", "acc-1")


def test_a_command_that_only_creates_meets_already_exists() -> None:
    with pytest.raises(AlreadyExists) as caught:
        ACCOUNT.decide(Account(owner="Ada"), OpenAccount(owner="Ada"), CONTEXT)
    assert (caught.value.aggregate, caught.value.aggregate_id) == ("account", "acc-1")


# --- what a decision may return -----------------------------------------------------------------------------------


class Count(Command, name="count"):
    how: str


class Counted(Event, name="counted"):
    number: int


class Tally(Creatable, name="tally"):
    total: int = 0

    @creates
    @classmethod
    def begin(cls, event: Counted) -> Self:
        return cls(total=event.number)

    @decides
    def count(self, command: Count):
        one, two = Counted(number=1), Counted(number=2)
        return {
            "one": one,
            "none": None,
            "tuple": (one, two),
            "list": [one, two],
            "iterator": (event for event in (one, two)),
            "empty": [],
            "text": "counted",
            "foreign": Deposited(amount=Decimal(1)),
            "among": [one, Deposited(amount=Decimal(1))],
            "command": command,
            "mapping": {one: two},
        }[command.how]

    @applies
    def on_counted(self, event: Counted) -> None:
        self.total += event.number


@pytest.mark.parametrize(
    ("how", "numbers"),
    [("one", [1]), ("none", []), ("tuple", [1, 2]), ("list", [1, 2]), ("iterator", [1, 2]), ("empty", [])],
)
def test_a_decision_is_one_event_several_or_none(how: str, numbers: list[int]) -> None:
    events = Tally.__definition__.decide(Tally(), Count(how=how), CONTEXT)
    assert isinstance(events, tuple)
    assert [event.number for event in events if isinstance(event, Counted)] == numbers


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("text", r"Tally\.count returned 'counted', which is no event: return an event, several, or None"),
        ("command", r"Tally\.count returned Count\(how='command'\), which is no event"),
        ("mapping", r"Tally\.count returned .*, which is no event"),
        (
            "foreign",
            r"Tally\.count returned Deposited, an event that nothing in Tally applies: add a method with @applies",
        ),
        ("among", r"Tally\.count returned Deposited, an event that nothing in Tally applies"),
    ],
)
def test_anything_but_the_aggregates_own_events_is_refused(how: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Tally.__definition__.decide(Tally(), Count(how=how), CONTEXT)


def test_a_rejection_out_of_a_generator_comes_through() -> None:
    class Strict(Creatable, name="strict"):
        @decides
        def count(self, command: Count) -> Iterator[Counted]:
            yield Counted(number=1)
            raise InsufficientFunds(available=Decimal(0))

        @applies
        def on_counted(self, event: Counted) -> None: ...

    with pytest.raises(InsufficientFunds):
        Strict.__definition__.decide(Strict(), Count(how=""), CONTEXT)


def test_a_command_of_another_aggregate_is_refused() -> None:
    for state in (None, Account(owner="Ada")):
        with pytest.raises(DefinitionError, match=r"Account has no method for Count: add one with @decides"):
            ACCOUNT.decide(state, Count(how="one"), CONTEXT)


def test_an_event_that_cannot_come_there_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"Account met Deposited before it existed.*@creates"):
        ACCOUNT.evolve(None, Deposited(amount=Decimal(1)))
    with pytest.raises(DefinitionError, match=r"Account met AccountOpened when it existed already.*@applies"):
        ACCOUNT.evolve(Account(owner="Ada"), AccountOpened(owner="Ada"))
    for state in (None, Account(owner="Ada")):
        with pytest.raises(DefinitionError, match="Account has no method for Counted: add one with @applies"):
            ACCOUNT.evolve(state, Counted(number=1))


def test_a_method_that_creates_and_returns_no_aggregate_is_refused() -> None:
    class Forgetful(Aggregate, name="forgetful"):
        @creates
        @classmethod
        def on_counted(cls, event: Counted) -> Self:
            cls()
            return None

    with pytest.raises(DefinitionError, match=r"Forgetful\.on_counted returned None: return cls\(…\)"):
        Forgetful.__definition__.evolve(None, Counted(number=1))


def test_a_method_that_applies_and_returns_something_is_refused() -> None:
    class Functional(Creatable, name="functional"):
        total: int = 0

        @applies
        def on_counted(self, event: Counted):
            return dataclasses.replace(self, total=event.number)

    with pytest.raises(
        DefinitionError, match=r"Functional\.on_counted returned .*Functional.*: change self, and return nothing"
    ):
        Functional.__definition__.evolve(Functional(), Counted(number=1))


# --- forms --------------------------------------------------------------------------------------------------------


def test_decide_and_evolve_may_be_written_out_with_match() -> None:
    class Written(Aggregate[AccountCommand], name="written"):
        owner: str
        balance: Decimal = Decimal(0)

        @creates
        @classmethod
        def open(cls, command: OpenAccount) -> AccountOpened:
            return AccountOpened(owner=command.owner)

        @creates
        @classmethod
        def on_opened(cls, event: AccountOpened) -> Self:
            return cls(owner=event.owner)

        def decide(self, command: Deposit | Withdraw, context: Context) -> Deposited | Withdrawn | None:
            match command:
                case Deposit(amount=amount):
                    return Deposited(amount=amount)
                case Withdraw(amount=amount) if amount <= self.balance:
                    return Withdrawn(amount=amount)
            return None

        def evolve(self, event: Deposited | Withdrawn) -> None:
            match event:
                case Deposited(amount=amount):
                    self.balance += amount
                case Withdrawn(amount=amount):
                    self.balance -= amount

    definition = Written.__definition__
    state = definition.evolve(None, AccountOpened(owner="Ada"))
    assert definition.decide(state, Withdraw(amount=Decimal(1)), CONTEXT) == ()
    for event in definition.decide(state, Deposit(amount=Decimal(5)), CONTEXT):
        definition.evolve(state, event)
    assert state.balance == 5
    assert definition.creating_commands == {OpenAccount}


def test_a_command_may_both_create_and_change() -> None:
    class Counter(Aggregate, name="counter"):
        total: int
        changes: int = 0

        @creates
        @classmethod
        def begin(cls, command: Count) -> Counted:
            return Counted(number=10)

        @decides
        def go_on(self, command: Count) -> Counted:
            return Counted(number=1)

        @creates
        @classmethod
        def on_begun(cls, event: Counted) -> Self:
            return cls(total=event.number)

        @applies
        def on_counted(self, event: Counted) -> None:
            self.total += event.number
            self.changes += 1

    definition = Counter.__definition__
    state: Counter | None = None
    for _ in range(3):
        for event in definition.decide(state, Count(how=""), CONTEXT):
            state = definition.evolve(state, event)
    assert state == Counter(total=12, changes=2)
    assert definition.creating_commands == {Count}


Alias = TypeAliasType("Alias", Deposit | Withdraw)


@pytest.mark.parametrize(
    "annotation",
    [Deposit | Withdraw, Union[Deposit, Withdraw], Annotated[Deposit | Withdraw, "both"], Alias, "Deposit | Withdraw"],  # noqa: UP007
)
def test_a_union_of_commands_may_be_written_in_any_way(annotation: Any) -> None:
    class Sink(Creatable, name="sink"):
        @decides
        def swallow(self, command: annotation) -> None: ...

    assert set(Sink.__definition__.commands.values()) == {Deposit, Withdraw}


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        Optional[Withdrawn],  # noqa: UP045
        list[Withdrawn],
        tuple[Withdrawn, ...],
        Iterator[Withdrawn | None],
        Any,
        Event,
        object,
        tuple,
    ],
)
def test_what_a_decision_returns_may_be_annotated_in_any_way(annotation: Any) -> None:
    class Sink(Creatable, name="sink"):
        @decides
        def withdraw(self, command: Withdraw) -> annotation: ...

        @applies
        def on_withdrawn(self, event: Withdrawn) -> None: ...

    assert Sink.__definition__.decide(Sink(), Withdraw(amount=Decimal(1)), CONTEXT) == ()


def test_the_context_is_known_by_its_place_even_without_an_annotation() -> None:
    seen = []

    class Sink(Aggregate, name="sink"):
        @decides
        def withdraw(self, command: Withdraw, circumstances):
            seen.append(circumstances)

        @creates
        @classmethod
        def open(cls, command: OpenAccount, /, context: Context) -> AccountOpened:
            seen.append(context)
            return AccountOpened(owner="Ada")

        @creates
        @classmethod
        def on_opened(cls, event: AccountOpened) -> Self:
            return cls()

    Sink.__definition__.decide(Sink(), Withdraw(amount=Decimal(1)), CONTEXT)
    Sink.__definition__.decide(None, OpenAccount(owner="Ada"), CONTEXT)
    assert seen == [CONTEXT, CONTEXT]


def test_classes_inside_a_function_see_its_names_and_those_of_functions_around_it() -> None:
    class Begin(Command, name="begin"):
        pass

    class Begun(Event, name="begun"):
        pass

    def inner() -> type[Aggregate]:
        class End(Command, name="end"):
            pass

        class Ended(Event, name="ended"):
            pass

        class Outer:
            class Game(Aggregate, name="game"):
                class Paused(Event, name="paused"):
                    pass

                @creates
                @classmethod
                def begin(cls, command: Begin) -> Begun:
                    return Begun()

                @creates
                @classmethod
                def on_begun(cls, event: Begun) -> Self:
                    return cls()

                @decides
                def end(self, command: End) -> tuple[Paused, Ended]:
                    raise NotImplementedError

                @applies
                def on_ended(self, event: Ended | Paused) -> None: ...

        return Outer.Game

    assert list(inner().__definition__.events) == ["begun", "ended", "paused"]


def test_an_annotation_may_name_the_aggregate_itself() -> None:
    class Game(Aggregate, name="game"):
        class Paused(Event, name="paused"):
            pass

        @creates
        @classmethod
        def on_paused(cls, event: Game.Paused) -> Game:
            return cls()

    assert Game.__definition__.evolve(None, Game.Paused()) == Game()


def test_a_module_run_by_exec_with_names_of_its_own_works() -> None:
    names = {"Creatable": Creatable, "decides": decides, "Command": Command, "__name__": "nowhere"}
    code = """
from __future__ import annotations
class Go(Command, name="go"): pass
class Robot(Creatable, name="robot"):
    @decides
    def go(self, command: Go) -> None: ...
"""
    exec(code, names, local := {})
    assert list(local["Robot"].__definition__.commands) == ["go"]


# --- inheritance --------------------------------------------------------------------------------------------------


C = TypeVar("C", bound=Command, default=Command)


class Owned(Aggregate[C], Generic[C], abstract=True):
    owner: str

    @creates
    @classmethod
    def open(cls, command: OpenAccount) -> AccountOpened:
        return AccountOpened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: AccountOpened) -> Self:
        return cls(owner=event.owner)


class Counts:
    total: ClassVar[int] = 0

    @decides
    def count(self, command: Count) -> Counted:
        return Counted(number=1)

    @applies
    def on_counted(self, event: Counted) -> None: ...


def test_an_abstract_base_shares_fields_and_handlers() -> None:
    class Savings(Owned[OpenAccount | Deposit], name="savings"):
        balance: Decimal = Decimal(0)

        @decides
        def deposit(self, command: Deposit) -> Deposited:
            return Deposited(amount=command.amount)

        @applies
        def on_deposited(self, event: Deposited) -> None:
            self.balance += event.amount

    class Box(Owned, name="box"):
        pass

    for aggregate in (Savings, Box):
        definition = aggregate.__definition__
        (opened,) = definition.decide(None, OpenAccount(owner="Ada"), CONTEXT)
        assert definition.evolve(None, opened) == aggregate(owner="Ada")
    assert list(Savings.__definition__.commands.values()) == [OpenAccount, Deposit, Deposit]
    assert list(Box.__definition__.commands.values()) == [OpenAccount]
    assert not hasattr(Owned, "__definition__")


def test_a_plain_mixin_brings_its_handlers() -> None:
    class Box(Counts, Owned, name="box"):
        pass

    assert set(Box.__definition__.commands) == {"open-account", "count"}
    assert Box.__definition__.decide(Box(owner="Ada"), Count(how=""), CONTEXT) == (Counted(number=1),)


def test_a_plain_mixin_of_another_module_brings_its_handlers() -> None:
    module = types.ModuleType("mixins")
    vars(module).update(Elsewhere=Count, decides=decides)
    code = "from __future__ import annotations\nclass Mixin:\n    @decides\n    def count(self, command: Elsewhere) -> None: ..."
    with mock.patch.dict(sys.modules, {"mixins": module}):
        exec(code, vars(module))

        class Box(module.Mixin, Creatable, name="box"):
            pass

    assert set(Box.__definition__.commands) == {"count"}


def test_a_marked_method_replaces_the_inherited_one() -> None:
    class Twice(Counts, Creatable, name="twice"):
        @decides
        def count(self, command: Count) -> list[Counted]:
            return [super().count(command), super().count(command)]

    assert len(Twice.__definition__.decide(Twice(), Count(how=""), CONTEXT)) == 2


def test_an_abstract_base_may_leave_methods_abstract() -> None:
    class Priced(Creatable, ABC, abstract=True):
        @abstractmethod
        def price(self) -> int: ...

        @decides
        def count(self, command: Count) -> Counted:
            return Counted(number=self.price())

        @applies
        def on_counted(self, event: Counted) -> None: ...

    class Ticket(Priced, name="ticket"):
        def price(self) -> int:
            return 7

    assert Ticket.__definition__.decide(Ticket(), Count(how=""), CONTEXT) == (Counted(number=7),)


def test_a_user_may_act_when_aggregates_are_defined() -> None:
    seen: list[tuple[str, str]] = []

    class Registered(Creatable, abstract=True):
        def __init_subclass__(cls, *, topic: str = "none", **arguments: Any) -> None:
            super().__init_subclass__(**arguments)
            seen.append((cls.__name__, topic))

    class Local(Command, name="local"):
        pass

    class Robot(Registered, name="robot", topic="x"):
        @decides
        def go(self, command: Local) -> None: ...

    assert seen == [("Robot", "x")]
    assert list(Robot.__definition__.commands) == ["local"]
