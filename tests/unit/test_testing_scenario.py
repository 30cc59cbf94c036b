"""given/when/then: what passes, what fails, and how it says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Self

import pytest
from pydantic import Field

from eventsource.domain import Aggregate, Command, Context, Event, Rejected, applies, creates, decides
from eventsource.errors import DefinitionError
from eventsource.testing import given

Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]


class OpenAccount(Command, name="open-account"):
    owner: str


class Deposit(Command, name="deposit"):
    amount: Money


class Withdraw(Command, name="withdraw"):
    amount: Money


class AccountOpened(Event, name="account-opened"):
    owner: str


class Deposited(Event, name="deposited"):
    amount: Money


class Withdrawn(Event, name="withdrawn"):
    amount: Money


class BankRejected(Rejected, abstract=True):
    pass


class InsufficientFunds(BankRejected, code="insufficient_funds"):
    available: Decimal


class Closed(BankRejected, code="closed"):
    pass


class Account(Aggregate[OpenAccount | Deposit | Withdraw], name="account"):
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
    def deposit(self, command: Deposit) -> Deposited | None:
        if command.amount == Decimal("0.01"):
            return None
        return Deposited(amount=command.amount)

    @decides
    def withdraw(self, command: Withdraw) -> Withdrawn:
        if command.amount > self.balance:
            raise InsufficientFunds(available=self.balance)
        return Withdrawn(amount=command.amount)

    @applies
    def on_deposited(self, event: Deposited) -> None:
        self.balance += event.amount

    @applies
    def on_withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount


ADA = AccountOpened(owner="Ada")
FIVE = Decimal("5.00")


def failing(call: Any, *said: str) -> str:
    with pytest.raises(AssertionError) as caught:
        call()
    text = str(caught.value)
    for words in said:
        assert words in text, text
    return text


# --- what passes --------------------------------------------------------------------------------------------------


def test_a_story_of_several_commands_goes_on() -> None:
    (
        given(Account)
        .when(OpenAccount(owner="Ada"))
        .then(ADA)
        .when(Withdraw(amount=FIVE))
        .then_rejected(InsufficientFunds, available=Decimal(0))
        .when(Deposit(amount=FIVE))
        .then(Deposited(amount=FIVE))
        .then_state(balance=FIVE, owner="Ada")
        .when(Deposit(amount=Decimal("0.01")))
        .then_nothing()
        .when(OpenAccount(owner="Bob"))
        .then_already_exists()
        .when(Withdraw(amount=FIVE))
        .then_state(lambda account: account.balance == 0, balance=Decimal(0))
    )


def test_an_aggregate_without_events_does_not_exist() -> None:
    given(Account).when(Deposit(amount=FIVE)).then_not_found()


def test_a_rejection_may_be_caught_by_its_base() -> None:
    given(Account, ADA).when(Withdraw(amount=FIVE)).then_rejected(BankRejected)
    given(Account, ADA).when(Withdraw(amount=FIVE)).then_rejected()


def test_one_beginning_may_have_several_continuations() -> None:
    opened = given(Account, ADA)
    opened.when(Deposit(amount=FIVE)).then_state(balance=FIVE)
    opened.when(Deposit(amount=FIVE)).then_state(balance=FIVE)
    opened.then_state(balance=Decimal(0))


class Look(Command, name="look"):
    pass


class Watcher(Aggregate, name="watcher"):
    seen: Context | None = None

    @creates
    @classmethod
    def begin(cls, event: AccountOpened) -> Self:
        return cls()

    @decides
    def look(self, command: Look, context: Context) -> Deposited:
        SEEN.append(context)
        return Deposited(amount=FIVE)

    @applies
    def on_deposited(self, event: Deposited) -> None: ...


SEEN: list[Context] = []


def test_the_context_is_virtual_and_may_be_given() -> None:
    SEEN.clear()
    noon = datetime(2020, 6, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    deposited = Deposited(amount=FIVE)
    (
        given(Watcher, ADA)
        .when(Look())
        .then(deposited)
        .when(Look(), id="w-7", time=noon, actor="ada", metadata={"tenant": "a"}, correlation_id="x")
        .then(deposited)
        .when(Look())
        .then(deposited)
    )
    first, second, third = SEEN
    assert first == Context(
        id="watcher-1",
        version=1,
        time=datetime(2000, 1, 1, tzinfo=UTC),
        command_id="command-1",
        correlation_id="command-1",
        metadata={},
    )
    assert second == Context(
        id="w-7",
        version=2,
        time=datetime(2020, 6, 1, 12, tzinfo=UTC),
        command_id="command-2",
        correlation_id="x",
        actor="ada",
        metadata={"tenant": "a"},
    )
    assert second.time.tzinfo is UTC
    assert (third.id, third.time, third.actor, third.version) == ("w-7", second.time, None, 3)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone: give it one"):
        given(Watcher, ADA).when(Look(), time=datetime(2020, 1, 1))


# --- what fails ---------------------------------------------------------------------------------------------------


def test_other_events_fail_with_a_diff() -> None:
    text = failing(lambda: given(Account, ADA).when(Deposit(amount=FIVE)).then(Deposited(amount=Decimal("6.00")), ADA))
    assert text == (
        "given Account 'account-1' at version 1\n"
        "  AccountOpened(owner='Ada')\n"
        "when\n"
        "  Deposit(amount=Decimal('5.00'))\n"
        "other events (- expected, + happened):\n"
        "  - Deposited(amount=Decimal('6.00'))\n"
        "  + Deposited(amount=Decimal('5.00'))\n"
        "  - AccountOpened(owner='Ada')"
    )


def test_events_where_none_was_expected_fail() -> None:
    failing(
        lambda: given(Account, ADA).when(Deposit(amount=FIVE)).then_nothing(),
        "other events",
        "+ Deposited(amount=Decimal('5.00'))",
    )


def test_a_rejection_where_events_were_expected_fails_and_is_the_cause() -> None:
    with pytest.raises(AssertionError) as caught:
        given(Account, ADA).when(Withdraw(amount=FIVE)).then(Withdrawn(amount=FIVE))
    assert "expected the events:\n  Withdrawn(amount=Decimal('5.00'))\n" in str(caught.value)
    assert "but it was rejected with InsufficientFunds: insufficient_funds: available=0.00" in str(caught.value)
    assert isinstance(caught.value.__cause__, InsufficientFunds)


def test_a_missing_aggregate_where_events_were_expected_fails() -> None:
    failing(
        lambda: given(Account).when(Deposit(amount=FIVE)).then_nothing(),
        "given no Account 'account-1'\n",
        "expected the events (none)\nbut it met NotFound: account 'account-1' does not exist",
    )


def test_events_where_a_rejection_was_expected_fail() -> None:
    failing(
        lambda: given(Account, ADA).when(Deposit(amount=FIVE)).then_rejected(InsufficientFunds, available=FIVE),
        "expected InsufficientFunds with available=Decimal('5.00')\nbut it was accepted, with these events:\n  Deposited(",
    )


def test_another_rejection_fails() -> None:
    failing(
        lambda: given(Account, ADA).when(Withdraw(amount=FIVE)).then_rejected(Closed),
        "expected Closed\nbut it was rejected with InsufficientFunds",
    )


def test_other_details_fail() -> None:
    failing(
        lambda: given(Account, ADA).when(Withdraw(amount=FIVE)).then_rejected(InsufficientFunds, available=FIVE),
        "but available is Decimal('0.00')",
    )


def test_a_detail_that_the_rejection_does_not_have_fails() -> None:
    failing(
        lambda: given(Account, ADA).when(Withdraw(amount=FIVE)).then_rejected(InsufficientFunds, limit=None),
        "but limit is (nothing)",
    )


def test_not_found_and_already_exists_are_told_apart() -> None:
    failing(
        lambda: given(Account, ADA).when(OpenAccount(owner="Bob")).then_not_found(),
        "expected NotFound\nbut it met AlreadyExists",
    )
    failing(
        lambda: given(Account).when(Deposit(amount=FIVE)).then_already_exists(),
        "expected AlreadyExists\nbut it met NotFound",
    )
    failing(
        lambda: given(Account).when(OpenAccount(owner="Ada")).then_not_found(),
        "but it was accepted, with these events:",
    )


def test_another_state_fails() -> None:
    failing(
        lambda: given(Account, ADA).then_state(owner="Bob", balance=Decimal(0), colour="red"),
        "expected another state\n  owner: expected 'Bob', found 'Ada'\n  colour: expected 'red', found (nothing)",
    )


def test_a_check_that_returns_false_or_asserts_fails() -> None:
    failing(
        lambda: given(Account, ADA).then_state(lambda account: account.balance > 0),
        "the check returned False for",
        "balance=Decimal('0.00')",
    )

    def check(account: Account) -> None:
        assert account.owner == "Bob", "not Bob"

    failing(lambda: given(Account, ADA).then_state(check), "not Bob")


def test_the_state_of_an_aggregate_that_does_not_exist_fails() -> None:
    failing(lambda: given(Account).then_state(), "expected an aggregate, but none exists")


def test_the_state_after_a_rejection_fails() -> None:
    failing(
        lambda: given(Account, ADA).when(Withdraw(amount=FIVE)).then_state(owner="Ada"),
        "expected the command accepted",
        "InsufficientFunds",
    )


# --- what a domain must not do --------------------------------------------------------------------------------------


class Add(Command, name="add"):
    items: list[str]


class Added(Event, name="added"):
    items: list[str]


class Keeper:
    """Has no `==`."""

    def __init__(self) -> None:
        self.items: list[str] = []


def impure(how: str) -> type[Aggregate]:
    class Impure(Aggregate, name="impure"):
        items: list[str]
        total: Decimal = Decimal("0.0")
        keeper: Any = None

        @creates
        @classmethod
        def on_opened(cls, event: AccountOpened) -> Self:
            return cls(items=[], keeper=Keeper())

        @decides
        def add(self, command: Add) -> Added:
            if how == "attribute":
                self.total += 1
            elif how == "digits":
                self.total = Decimal("0.00")
            elif how == "list":
                self.items.append("x")
            elif how == "inside":
                self.keeper.items.append("x")
            elif how == "command":
                command.items.append("x")
            elif how == "rejected":
                self.total += 1
                raise Closed
            return Added(items=list(command.items))

        @applies
        def on_added(self, event: Added) -> None:
            if how == "event":
                event.items.append("x")
            elif how == "taken":
                self.items.append("y")
                self.items = event.items
            else:
                self.items.extend(event.items)

    return Impure


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("attribute", "total: Decimal('0.0') → Decimal('1.0')"),
        ("digits", "total: Decimal('0.0') → Decimal('0.00')"),
        ("list", "items: [] → ['x']"),
        ("inside", "keeper: "),
        ("rejected", "total: Decimal('0.0') → Decimal('1.0')"),
    ],
)
def test_a_decision_that_changes_the_aggregate_fails(how: str, what: str) -> None:
    failing(
        lambda: given(impure(how), ADA).when(Add(items=["a"])),
        "Impure changed while it decided on Add: a decision only returns events, so make the change in the method that applies",
        what,
    )


def test_a_decision_that_changes_the_command_fails() -> None:
    failing(
        lambda: given(impure("command"), ADA).when(Add(items=["a"])),
        "Impure changed the command Add while it decided on it: copy what it holds",
        "items: ['a'] → ['a', 'x']",
    )


def test_applying_that_changes_the_event_fails() -> None:
    failing(
        lambda: given(impure("event"), ADA).when(Add(items=["a"])).then_state(),
        "the event Added is not what it was, since Impure changed it while it applied events: copy what it holds",
        "items: ['a'] → ['a', 'x']",
    )


def test_an_event_whose_list_was_taken_over_and_changed_later_fails() -> None:
    story = given(impure("taken"), ADA).when(Add(items=["a"])).then(Added(items=["a"]))
    failing(
        lambda: story.when(Add(items=["b"])).then(Added(items=["b"])),
        "the event Added is not what it was",
        "items: ['a'] → ['a', 'y']",
    )


def test_a_domain_that_changes_nothing_passes() -> None:
    given(impure(""), ADA).when(Add(items=["a"])).then(Added(items=["a"])).then_state(items=["a"])


def test_a_check_cannot_change_the_story() -> None:
    story = given(impure(""), ADA)
    story.then_state(lambda thing: thing.items.append("x"))
    story.then_state(items=[])


def test_errors_of_the_domain_and_of_its_definition_come_through() -> None:
    class Broken(Aggregate, name="broken"):
        @creates
        @classmethod
        def on_opened(cls, event: AccountOpened) -> Self:
            return cls()

        @decides
        def look(self, command: Look) -> None:
            raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        given(Broken, ADA).when(Look())
    with pytest.raises(DefinitionError, match="Broken has no method for Deposit"):
        given(Broken, ADA).when(Deposit(amount=FIVE))
    with pytest.raises(DefinitionError, match="Broken has no method for Deposited"):
        given(Broken, Deposited(amount=FIVE))
