"""Messages: names given at definition, frozen, with fields that travel exactly."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eventsource.domain import Aggregate, Command, Event, applies, creates
from eventsource.errors import DefinitionError, NoExactForm

Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]
T = TypeVar("T")


class Line(BaseModel):
    article: str
    price: Money


def test_a_message_bears_the_name_revision_and_aliases_that_were_given() -> None:
    class Deposited(Event, name="deposited", revision=2, aliases=("money-deposited", "paid-in")):
        amount: Money

    class Deposit(Command, name="deposit", aliases=("pay-in",)):
        amount: Money

    assert (Deposited.message_name, Deposited.message_revision) == ("deposited", 2)
    assert Deposited.message_aliases == ("money-deposited", "paid-in")
    assert (Deposit.message_name, Deposit.message_aliases) == ("deposit", ("pay-in",))


def test_a_message_may_have_a_field_called_name() -> None:
    class Renamed(Event, name="renamed"):
        name: str

    assert Renamed(name="Ada").name == "Ada"
    assert Renamed.message_name == "renamed"


def test_a_message_is_frozen() -> None:
    class Deposited(Event, name="deposited"):
        amount: Money

    event = Deposited(amount=Decimal("1.00"))
    with pytest.raises(ValidationError):
        event.amount = Decimal("2.00")


def test_a_message_refuses_unknown_fields_and_bad_values_when_it_is_made() -> None:
    class Deposited(Event, name="deposited"):
        amount: Money

    with pytest.raises(ValidationError, match="extra"):
        Deposited(amount=Decimal(1), currency="EUR")
    with pytest.raises(ValidationError, match="greater than 0"):
        Deposited(amount=Decimal(-1))


def test_equal_messages_are_equal_and_have_one_hash() -> None:
    class Deposited(Event, name="deposited"):
        amount: Money

    assert Deposited(amount=Decimal(1)) == Deposited(amount=Decimal("1.00"))
    assert hash(Deposited(amount=Decimal(1))) == hash(Deposited(amount=Decimal("1.00")))


def test_an_abstract_base_shares_fields_and_needs_no_name() -> None:
    class AccountEvent(Event, abstract=True):
        account: str

    class Opened(AccountEvent, name="opened", revision=3):
        owner: str

    class Closed(AccountEvent, name="closed"):
        pass

    assert Opened(account="a", owner="Ada").account == "a"
    assert (Closed.message_name, Closed.message_revision) == ("closed", 1)


def test_the_revision_and_aliases_of_a_message_do_not_pass_on_to_its_subclass() -> None:
    class Opened(Event, name="opened", revision=3, aliases=("begun",)):
        owner: str

    class OpenedJointly(Opened, name="opened-jointly"):
        partner: str

    assert (OpenedJointly.message_revision, OpenedJointly.message_aliases) == (1, ())


def test_a_generic_base_gives_each_named_form_its_own_types() -> None:
    class Changed(Event, Generic[T], abstract=True):
        old: T
        new: T

    class Renamed(Changed[str], name="renamed"):
        pass

    assert Renamed(old="a", new="b").new == "b"
    with pytest.raises(ValidationError):
        Renamed(old=1, new=2)


def test_a_generic_message_with_a_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"PriceChanged is generic and has a name.*make it abstract=True"):

        class PriceChanged(Event, Generic[T], name="price-changed"):
            price: T


@pytest.mark.parametrize("kind", [Command, Event])
def test_a_message_without_a_name_is_refused(kind: type[Any]) -> None:
    with pytest.raises(DefinitionError, match=r'Deposited has no name: write class Deposited\(…, name="…"\)'):

        class Deposited(kind):
            amount: Money


@pytest.mark.parametrize("name", ["Deposited", "deposited_twice", "", "a b", "-a", "deposited."])
def test_a_name_that_no_topic_could_hold_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match=r"the name of event .*Deposited, .* use lower-case letters"):

        class Deposited(Event, name=name):
            amount: Money


def test_an_alias_that_no_topic_could_hold_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"an alias of event .*Deposited, 'Paid In'"):

        class Deposited(Event, name="deposited", aliases=("Paid In",)):
            amount: Money


def test_aliases_given_as_one_text_are_refused() -> None:
    with pytest.raises(
        DefinitionError, match=r"Deposited has aliases='paid-in': give a tuple, such as aliases=\('paid-in',\)"
    ):

        class Deposited(Event, name="deposited", aliases="paid-in"):
            amount: Money


@pytest.mark.parametrize("aliases", [("deposited",), ("paid-in", "paid-in")])
def test_a_message_that_bears_one_name_twice_is_refused(aliases: tuple[str, ...]) -> None:
    with pytest.raises(DefinitionError, match=r"Deposited bears one name twice"):

        class Deposited(Event, name="deposited", aliases=aliases):
            amount: Money


@pytest.mark.parametrize("revision", [0, -1, True, "2", 1.5])
def test_a_revision_that_is_not_a_whole_number_from_1_is_refused(revision: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Deposited has revision=.*whole number from 1"):

        class Deposited(Event, name="deposited", revision=revision):
            amount: Money


def test_an_abstract_message_with_a_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"Deposited is abstract.*leave out its name"):

        class Deposited(Event, name="deposited", abstract=True):
            amount: Money


def test_a_message_that_is_not_frozen_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"Deposited sets frozen=False: leave it out"):

        class Deposited(Event, name="deposited"):
            model_config = ConfigDict(frozen=False)
            amount: Money


def test_a_message_that_lets_unknown_fields_in_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"Deposited.*extra='ignore'"):

        class Deposited(Event, name="deposited"):
            model_config = ConfigDict(extra="ignore")
            amount: Money


def test_a_field_named_like_what_every_message_has_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"Deposited has a field 'message_name', a name that is taken: rename it"):

        class Deposited(Event, name="deposited"):
            message_name: str


def test_a_field_without_an_exact_form_is_refused_with_its_mend() -> None:
    with pytest.raises(NoExactForm, match=r"Deposited\.amount: .*max_digits"):

        class Deposited(Event, name="deposited"):
            amount: Decimal


def test_a_field_of_a_foreign_class_is_refused_with_its_mend() -> None:
    class Foreign:
        pass

    with pytest.raises(NoExactForm, match=r"Deposited\.by: Foreign has no exact Avro form: use str"):

        class Deposited(Event, name="deposited"):
            by: Foreign


def test_a_field_whose_type_comes_later_is_checked_when_an_aggregate_uses_it() -> None:
    class Ordered(Event, name="ordered"):
        lines: list[LaterLine]

    class LaterLine(BaseModel):
        price: Decimal

    Ordered.model_rebuild(_types_namespace={"LaterLine": LaterLine})
    with pytest.raises(NoExactForm, match=r"LaterLine\.price"):

        class Order(Aggregate, name="order"):
            @creates
            @classmethod
            def ordered(cls, event: Ordered) -> Order:
                return cls()


def test_a_field_whose_type_never_comes_is_refused_when_an_aggregate_uses_it() -> None:
    class Ordered(Event, name="ordered"):
        lines: list[Missing]  # noqa: F821

    with pytest.raises(
        DefinitionError, match=r"Ordered, which .*Order uses, has a field whose type is not defined yet: define"
    ):

        class Order(Aggregate, name="order"):
            @applies
            def ordered(self, event: Ordered) -> None: ...


def test_messages_nested_in_a_class_and_in_a_function_work() -> None:
    class Outer:
        class Item(BaseModel):
            price: Money

        class Ordered(Event, name="ordered"):
            lines: list[Line]

    assert Outer.Ordered(lines=[Line(article="a", price=Decimal(1))]).lines[0].article == "a"
