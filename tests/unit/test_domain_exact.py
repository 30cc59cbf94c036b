"""Which field types travel exactly, and what is said of those that do not."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypeVar
from uuid import UUID

import pydantic
import pytest
from pydantic import BaseModel, Field, PrivateAttr
from typing_extensions import TypeAliasType, TypedDict

from eventsource.domain.exact import check_exact_fields, model_shape
from eventsource.domain.shapes import (
    ArrayShape,
    DecimalShape,
    DictShape,
    EnumShape,
    Kind,
    Scalar,
    TupleShape,
    UnionShape,
)
from eventsource.errors import NoExactForm, UnresolvedReference

Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]
MONEY = DecimalShape(18, 2)
STRING, INTEGER, NULL = Scalar(Kind.STRING), Scalar(Kind.INTEGER), Scalar(Kind.NULL)
UserId = NewType("UserId", str)
Names = TypeAliasType("Names", list[str])
T = TypeVar("T")
Many = TypeAliasType("Many", list[T], type_params=(T,))


Deep = TypeAliasType("Deep", "list[Deep] | None")


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Address(BaseModel):
    city: str


class Page(BaseModel, Generic[T]):
    items: list[T]


class Node(BaseModel):
    value: int
    children: list[Node]


def model_of(annotation: Any, **options: Any) -> type[BaseModel]:
    options = {"arbitrary_types_allowed": True, **options}
    return pydantic.create_model("Message", __config__=pydantic.ConfigDict(**options), field=(annotation, ...))


def shape_of(annotation: Any) -> Any:
    (field,) = model_shape(model_of(annotation)).fields
    return field.shape


@pytest.mark.parametrize(
    ("annotation", "shape"),
    [
        (str, STRING),
        (bool, Scalar(Kind.BOOLEAN)),
        (float, Scalar(Kind.FLOAT)),
        (bytes, Scalar(Kind.BYTES)),
        (date, Scalar(Kind.DATE)),
        (time, Scalar(Kind.TIME)),
        (timedelta, Scalar(Kind.DURATION)),
        (UUID, Scalar(Kind.UUID)),
        (pydantic.UUID4, Scalar(Kind.UUID)),
        (datetime, Scalar(Kind.DATETIME)),
        (pydantic.AwareDatetime, Scalar(Kind.DATETIME)),
        (pydantic.NaiveDatetime, Scalar(Kind.NAIVE_DATETIME)),
        (pydantic.PastDate, Scalar(Kind.DATE)),
        (pydantic.PositiveInt, INTEGER),
        (pydantic.StrictStr, STRING),
        (pydantic.constr(min_length=1), STRING),
        (UserId, STRING),
        (Names, ArrayShape(STRING, list)),
        (Many[int], ArrayShape(INTEGER, list)),
        (Money, MONEY),
        (pydantic.condecimal(max_digits=5, decimal_places=1), DecimalShape(5, 1)),
        (Money | None, UnionShape((MONEY, NULL))),
        (list[Money], ArrayShape(MONEY, list)),
        (Annotated[Optional[Decimal], Field(max_digits=4, decimal_places=2)], UnionShape((DecimalShape(4, 2), NULL))),  # noqa: UP045
        (Annotated[Decimal, Field(max_digits=2, decimal_places=4)], DecimalShape(4, 4)),
        (Colour, EnumShape(Colour)),
        (Literal["a", "b"], STRING),
        (Literal["a", 1, None], UnionShape((STRING, INTEGER, NULL))),
        (Literal[Colour.RED], EnumShape(Colour)),
        (Literal["a"] | str, STRING),
        (tuple[int, ...], ArrayShape(INTEGER, tuple)),
        (tuple[int, str], TupleShape((INTEGER, STRING))),
        (tuple[()], TupleShape(())),
        (set[int], ArrayShape(INTEGER, set)),
        (frozenset[Colour], ArrayShape(EnumShape(Colour), frozenset)),
        (dict[str, int], DictShape(STRING, INTEGER)),
        (dict[UUID, int], DictShape(Scalar(Kind.UUID), INTEGER)),
        (int | float | bool, UnionShape((INTEGER, Scalar(Kind.FLOAT), Scalar(Kind.BOOLEAN)))),
    ],
    ids=str,
)
def test_a_type_that_travels_exactly_has_a_shape(annotation: Any, shape: Any) -> None:
    assert shape_of(annotation) == shape


class Row(NamedTuple):
    x: int


@dataclasses.dataclass
class Point:
    x: int


class Options(TypedDict):
    x: int


class Rights(enum.Flag):
    READ = enum.auto()


class Nothing(BaseModel):
    pass


class Foreign:
    pass


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Any, r"Message\.field: Any has no exact Avro form: give the field the type that it holds"),
        (object, "give the field the type"),
        (list, r"as in list\[str\]"),
        (list[Any], "Any has no exact Avro form"),
        (dict, r"as in dict\[str, int\]"),
        (Decimal, r"annotate it as Annotated\[Decimal, Field\(max_digits=18, decimal_places=2\)\]"),
        (Annotated[Decimal, Field(max_digits=5)], "without max_digits and decimal_places"),
        (list[Decimal], "without max_digits and decimal_places"),
        (str | UUID, "str and UUID in one union cannot be told apart once written: keep one of them, or wrap each"),
        (int | timedelta, "int and timedelta in one union"),
        (int | date, "int and date in one union"),
        (str | datetime, "str and datetime in one union"),
        (list[int] | list[str], "list and list in one union"),
        (list[int] | tuple[int, ...], "list and tuple in one union"),
        (tuple[int, str] | tuple[int, ...], "tuple and tuple in one union"),
        (dict[str, int] | dict[int, int], "dict and dict in one union"),
        (Row, "make it a pydantic model"),
        (Point, "make it a pydantic model"),
        (Options, "make it a pydantic model"),
        (Foreign, "Foreign has no exact Avro form: use str"),
        (Rights, "Rights is a Flag"),
        (collections.abc.Sequence[int], r"use list\[\.\.\.\] or tuple"),
        (collections.abc.Mapping[str, int], r"use dict\[str"),
        (collections.deque[int], r"use list\[\.\.\.\]"),
        (collections.OrderedDict[str, int], r"use dict\[str"),
        (pydantic.SecretStr, "SecretStr has no exact Avro form"),
        (pydantic.HttpUrl, "HttpUrl has no exact Avro form"),
        (pydantic.ByteSize, "use int"),
        (pydantic.JsonValue, "hold the JSON text in a str"),
        (complex, "two float fields"),
        (bytearray, "use bytes"),
        (type[int], "has no exact Avro form"),
        (BaseModel, r"name the models that it holds"),
        (list[None], "its items hold nothing"),
        (list[Nothing], "its items hold nothing"),
        (list[tuple[()]], "its items hold nothing"),
        (set[Address], "keeps Address values by their hash"),
        (dict[Address, int], "keeps Address values by their hash"),
    ],
    ids=str,
)
def test_a_type_without_an_exact_form_is_refused_with_class_field_and_mend(annotation: Any, text: str) -> None:
    with pytest.raises(NoExactForm, match=text):
        shape_of(annotation)


def test_an_alias_that_refers_to_itself_is_refused() -> None:
    class Message(BaseModel):
        field: Deep

    with pytest.raises(
        NoExactForm, match=r"the type alias Deep holds a name in quotes: .* a model if it refers to itself"
    ):
        model_shape(Message)


def test_extra_values_would_be_lost_and_are_refused() -> None:
    with pytest.raises(NoExactForm, match=r"Message: extra='allow'.*drop it from model_config"):
        model_shape(model_of(int, extra="allow"))


def test_private_attributes_would_be_lost_and_are_refused() -> None:
    class Cached(BaseModel):
        x: int
        _cache: int = PrivateAttr(0)

    with pytest.raises(NoExactForm, match=r"Cached\._cache: a private attribute does not travel"):
        model_shape(model_of(Cached))


def test_enum_values_in_place_of_members_are_refused() -> None:
    with pytest.raises(NoExactForm, match="drop use_enum_values"):
        model_shape(model_of(Colour, use_enum_values=True))


def test_a_name_that_avro_does_not_know_is_refused() -> None:
    with pytest.raises(NoExactForm, match="its name is not ASCII"):
        model_shape(pydantic.create_model("Message", größe=(int, ...)))
    with pytest.raises(NoExactForm, match=r"Size\.größe is not named in ASCII.*rename the member"):
        model_shape(model_of(enum.Enum("Size", {"größe": 1})))


def test_two_classes_of_one_name_in_one_message_are_refused() -> None:
    other = pydantic.create_model("Address", street=(str, ...))
    with pytest.raises(NoExactForm, match="two classes named Address"):
        model_shape(pydantic.create_model("Message", one=(Address, ...), two=(other, ...)))


def test_a_type_variable_is_refused_until_it_is_filled() -> None:
    with pytest.raises(NoExactForm, match="parametrise Page"):
        model_shape(model_of(Page))
    assert model_shape(Page[int]).name == "Page_int"


def test_a_recursive_model_refers_back_to_itself() -> None:
    node = model_shape(Node)
    assert node.fields[1].shape.item is node  # type: ignore[union-attr]


def test_the_default_decides_which_member_of_a_union_comes_first() -> None:
    class Message(BaseModel):
        none: str | None = None
        text: str | None = "x"
        open: str | None

    assert [field.shape for field in model_shape(Message).fields] == [
        UnionShape((NULL, STRING)),
        UnionShape((STRING, NULL)),
        UnionShape((STRING, NULL)),
    ]


def test_names_that_are_not_defined_yet_are_asked_for_later() -> None:
    class Message(BaseModel):
        later: Later

    assert check_exact_fields(Message) is False
    with pytest.raises(UnresolvedReference, match=r"Message\.later: .*Later.* is not defined"):
        model_shape(Message)

    class Later(BaseModel):
        amount: Decimal

    Message.model_rebuild()
    with pytest.raises(NoExactForm, match=r"Later\.amount"):
        check_exact_fields(Message)


def test_local_classes_are_walked() -> None:
    class Inner(BaseModel):
        amount: Money

    class Message(BaseModel):
        inner: list[Inner]

    assert check_exact_fields(Message) is True
