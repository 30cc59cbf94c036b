"""Old events under today's classes."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field

from eventsource import Event, stored_as
from eventsource.errors import DecodeError, DefinitionError, UnknownFingerprint
from eventsource.schemas import MemorySchemaStore, MessageCodec, message_schema

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]


def rewrite(written: BaseModel, today: type[BaseModel], **names: Any) -> Any:
    """`written`, encoded under its own class and decoded under today's."""
    store = MemorySchemaStore()
    value = MessageCodec(type(written), names.get("old_name", "message"), store).encode(written)
    return MessageCodec(today, "message", store, names.get("aliases", ())).decode(value)


def change(old: Any, value: Any, new: Any) -> Any:
    """One field's value, after its annotation changed from `old` to `new`."""
    before = pydantic.create_model("Message", field=(old, ...))
    after = pydantic.create_model("Message", field=(new, ...))
    return rewrite(before(field=value), after).field


class Before(BaseModel):
    kept: int
    removed: str = "x"


def test_an_added_field_takes_its_default() -> None:
    class Message(BaseModel):
        first: str = "first"
        kept: int
        made: list[int] = Field(default_factory=lambda: [1])
        derived: int = Field(default_factory=lambda fields: fields["kept"] + 1)
        shared: list[int] = []

    found = rewrite(Before(kept=1), Message)
    assert found.model_dump() == {"first": "first", "kept": 1, "made": [1], "derived": 2, "shared": []}
    assert found == Message(kept=1)
    assert repr(found) == repr(Message(kept=1))
    assert found.model_fields_set == {"kept"}
    found.shared.append(1)
    assert Message(kept=1).shared == []


def test_an_added_field_without_default_names_message_field_and_mend() -> None:
    class Message(BaseModel):
        kept: int
        added: str

    with pytest.raises(DecodeError, match=r"message\.added: .* before Message had this field: give it a default"):
        rewrite(Before(kept=1), Message)


def test_an_added_field_of_a_nested_model_names_its_path() -> None:
    class Inner(BaseModel):
        kept: int

    class Old(BaseModel):
        inner: list[Inner]

    old = Old(inner=[Inner(kept=1)])

    class Inner(BaseModel):  # type: ignore[no-redef]  # the same class, later
        kept: int
        added: str

    class New(BaseModel):
        inner: list[Inner]

    with pytest.raises(DecodeError, match=r"message\.inner\.added: .*give it a default"):
        rewrite(old, New)


def test_a_removed_field_is_ignored_and_order_does_not_matter() -> None:
    class Both(BaseModel):
        a: int
        b: str

    class Message(BaseModel):
        b: str
        a: int

    assert rewrite(Both(a=1, b="x"), Message) == Message(a=1, b="x")

    class Kept(BaseModel):
        kept: int

    assert rewrite(Before(kept=3), Kept) == Kept(kept=3)


def test_a_renamed_field_is_found_by_its_alias() -> None:
    class Message(BaseModel):
        count: int = Field(json_schema_extra={"aliases": ["number", "kept"]})

    assert rewrite(Before(kept=3), Message) == Message(count=3)


def test_a_renamed_message_is_found_by_its_alias_and_refused_without() -> None:
    assert rewrite(Before(kept=1), Before, old_name="old-message", aliases=("old-message",)) == Before(kept=1)
    with pytest.raises(DecodeError, match=r"message: the bytes are those of old_message: .* give it in aliases"):
        rewrite(Before(kept=1), Before, old_name="old-message")


def test_the_aliases_of_a_message_class_are_used_unless_told_otherwise() -> None:
    class Renamed(Before):
        message_aliases = ("old-message",)
        model_config = ConfigDict(ignored_types=(tuple,))

    store = MemorySchemaStore()
    value = MessageCodec(Before, "old-message", store).encode(Before(kept=1))
    assert MessageCodec(Renamed, "message", store).decode(value).kept == 1


def test_an_old_event_that_breaks_todays_rules_is_read_and_runs_none_of_them() -> None:
    class Message(BaseModel):
        model_config = ConfigDict(frozen=True)
        kept: Annotated[int, Field(gt=100)]

        @pydantic.model_validator(mode="after")
        def refuse(self) -> Message:
            raise ValueError("never")

        @pydantic.field_validator("kept")
        @classmethod
        def refuse_field(cls, value: int) -> int:
            raise ValueError("never")

        def model_post_init(self, _: Any) -> None:
            raise ValueError("never")

    assert rewrite(Before(kept=1), Message).kept == 1


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@pytest.mark.parametrize(
    ("old", "value", "new", "expected"),
    [
        (int, 3, float, 3.0),
        (int, 3, int | None, 3),
        (int, 3, float | None, 3.0),
        (int | None, None, int | None, None),
        (int | None, 3, float | None, 3.0),
        (int, 3, str | float, 3.0),
        (str, "ü", bytes, "ü".encode()),
        (bytes, b"x", str, "x"),
        (str, "2024-01-02T03:04:05+00:00", datetime, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (datetime, datetime(2024, 1, 2, tzinfo=UTC), str, "2024-01-02T00:00:00+00:00"),
        (str, "00000000-0000-0000-0000-000000000007", UUID, UUID(int=7)),
        (datetime, datetime(2024, 1, 2), pydantic.NaiveDatetime, datetime(2024, 1, 2)),
        (pydantic.NaiveDatetime, datetime(2024, 1, 2), datetime, datetime(2024, 1, 2)),
        (Money, Decimal("5.00"), Annotated[Decimal, Field(max_digits=20, decimal_places=4)], Decimal("5.00")),
        (Annotated[Decimal, Field(max_digits=9, decimal_places=4)], Decimal("0.0001"), Money, Decimal("0.0001")),
        (list[int], [1], tuple[float, ...], (1.0,)),
        (list[int], [1, 1], set[int], {1}),
        (dict[str, int], {"a": 1}, dict[str, int | None], {"a": 1}),
        (dict[int, int], {1: 1}, dict[int, float], {1: 1.0}),
        (tuple[int, str], (1, "x"), tuple[float, str | None], (1.0, "x")),
        (Colour, Colour.RED, Colour | None, Colour.RED),
    ],
    ids=str,
)
def test_a_type_that_was_widened_reads_what_was_written(old: Any, value: Any, new: Any, expected: Any) -> None:
    found = change(old, value, new)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("old", "value", "new", "text"),
    [
        (
            str,
            "x",
            int,
            r"message\.field: it was written as string and is int today: keep the old type under the old name",
        ),
        (int, 1, str, "it was written as long and is str today"),
        (int, 1, timedelta, "it was written as long and is timedelta today"),
        (timedelta, timedelta(1), int, "it was written as duration-micros and is int today"),
        (int, 1, date, "it was written as long and is date today"),
        (bytes, b"x", Money, "it was written as bytes and is Decimal today"),
        (Money, Decimal(1), bytes, "it was written as decimal and is bytes today"),
        (int, 1, str | bytes, "add the old type to the union"),
        (tuple[int, str], (1, "x"), tuple[int, str, bool], "is tuple today"),
        (dict[str, int], {"a": 1}, list[int], "is list today"),
        (list[str], ["a"], dict[int, int], "is dict today"),
        (list[int | None], [1], dict[int, int], "is dict today"),
        (list[tuple[int, int]], [(1, 2)], dict[int, int], "is dict today"),
        (
            int,
            2**53 + 1,
            float,
            r"message\.field: the int that was written is no exact float: declare the field int \| float",
        ),
        (int | None, None, int, r"message\.field: it was written as null and is int today"),
        (int | str, "x", int, r"message\.field: it was written as string and is int today"),
        (str, "x", UUID, r"message\.field: the value is not what its type says \(ValueError\)"),
    ],
    ids=str,
)
def test_a_type_that_was_narrowed_names_message_field_and_mend(old: Any, value: Any, new: Any, text: str) -> None:
    with pytest.raises(DecodeError, match=text):
        change(old, value, new)


def test_only_the_branch_that_was_written_must_be_readable() -> None:
    assert change(int | str | None, 3, int) == 3
    assert change(int | str | None, 3, int | None) == 3


def test_members_of_an_enum_are_found_by_name_or_by_a_kept_one() -> None:
    class Later(enum.Enum):
        CRIMSON = 7
        RED = 7
        BLUE = 8

    later = enum.Enum("Colour", {"CRIMSON": 7, "RED": 7, "GREEN": 9})
    assert change(Colour, Colour.RED, later) is later["CRIMSON"]
    with pytest.raises(DecodeError, match=r"message\.field: Colour has no member BLUE today: keep it"):
        change(Colour, Colour.BLUE, later)


def symbols(name: str, *members: str) -> Any:
    return enum.Enum(name, members)


RED_BLUE, RED_GREEN = symbols("Paint", "RED", "BLUE"), symbols("Shade", "RED", "GREEN")


def test_a_renamed_enum_that_has_all_symbols_is_read_without_an_alias() -> None:
    class Later(enum.Enum):
        CRIMSON = 7
        RED = 7
        BLUE = 8

    assert change(Colour, Colour.BLUE, Later) is Later.BLUE
    assert change(Colour, Colour.RED, Later | None) is Later.CRIMSON
    assert change(Colour | None, Colour.RED, Later) is Later.CRIMSON
    assert change(list[Colour], [Colour.RED], list[Later | int]) == [Later.CRIMSON]
    assert change(dict[Colour, int], {Colour.RED: 1}, dict[Later, int]) == {Later.CRIMSON: 1}


def test_a_renamed_enum_without_all_symbols_names_the_mend() -> None:
    with pytest.raises(
        DecodeError, match=r"written as Colour and is Shade today: .* give it the old name with @stored_as\('Colour'\)"
    ):
        change(Colour, Colour.RED, RED_GREEN)


def test_of_renamed_enums_none_is_guessed() -> None:
    other = symbols("Hue", "RED", "BLUE")
    for written, today in [
        (RED_BLUE, Colour | other),  # two could be meant
        (RED_BLUE | Colour, other | None),  # two were written in its place
        (RED_BLUE | Colour, Colour | None),  # it was written itself
    ]:
        with pytest.raises(DecodeError, match=r"written as Paint .*@stored_as\('Paint'\)"):
            change(written, RED_BLUE["BLUE"], today)
    assert change(RED_BLUE | Colour, RED_BLUE["BLUE"], Colour | other) is other["BLUE"]
    assert change(RED_BLUE | Colour, Colour.BLUE, Colour | other) is Colour.BLUE


def test_nested_types_keep_the_names_that_they_are_given() -> None:
    @stored_as("Colour")
    class Painted(enum.Enum):
        RED = 1
        GREEN = 2
        BLUE = 3

    @stored_as("pet", aliases=["Dog"])
    class Hound(BaseModel):
        name: str

    @stored_as("Hue", aliases=["Shade"])
    class Tone(enum.Enum):
        GREEN = 1

    assert change(Colour, Colour.RED, Painted) is Painted.RED
    assert change(Cat | Dog, Dog(name="Rex"), Cat | Hound) == Hound(name="Rex")
    assert change(RED_GREEN, RED_GREEN["GREEN"], Tone) is Tone.GREEN
    with pytest.raises(DecodeError, match="Tone has no member RED today"):
        change(RED_GREEN, RED_GREEN["RED"], Tone)
    assert change(Hound, Hound(name="Rex"), Hound | Cat) == Hound(name="Rex")


def test_a_name_of_today_counts_before_one_of_before() -> None:
    @stored_as("Hound", aliases=["Dog"])
    class Hound(BaseModel):
        name: str = ""

    assert change(Dog, Dog(name="Rex"), Hound | Dog) == Dog(name="Rex")


def test_a_given_name_is_what_is_written_and_no_name_changes_nothing() -> None:
    @stored_as("Dog")
    class Hound(BaseModel):
        name: str = ""

    class Puppy(Hound):
        pass

    def text(model: type[BaseModel]) -> str:
        message = pydantic.create_model("Message", pet=(model, ...))
        return message_schema(message, "message").text.text

    assert text(Hound) == text(Dog)
    assert '"name":"Puppy"' in text(Puppy)


@pytest.mark.parametrize("name", ["", "a b", "1a", "a-b", "a.b", "\ud800", None, 7])
def test_a_name_that_avro_does_not_allow_is_refused(name: Any) -> None:
    with pytest.raises(DefinitionError, match="is no name of a nested type"):
        stored_as(name)
    with pytest.raises(DefinitionError, match="is no name of a nested type"):
        stored_as("Name", aliases=[name])


def test_a_name_is_given_once_and_to_classes_that_have_none() -> None:
    with pytest.raises(DefinitionError, match="given twice"):
        stored_as("Name", aliases=["Name"])
    with pytest.raises(DefinitionError, match="is for classes"):
        stored_as("Name")(7)  # type: ignore[type-var]
    with pytest.raises(DefinitionError, match="is a message, which has a name already"):

        @stored_as("Name")
        class Painted(Event, name="painted"):
            pass


class Cat(BaseModel):
    name: str = ""


class Dog(BaseModel):
    name: str = ""


def test_a_record_never_becomes_another_class_that_happens_to_fit() -> None:
    assert change(Cat | Dog, Dog(name="Rex"), Dog | Cat | None) == Dog(name="Rex")
    assert change(Cat | Dog, Dog(name="Rex"), Dog) == Dog(name="Rex")
    for today in (Cat, Cat | None, Cat | int):
        with pytest.raises(DecodeError, match="written as Dog"):
            change(Cat | Dog, Dog(name="Rex"), today)
        with pytest.raises(DecodeError, match="written as Dog"):
            change(Dog, Dog(name="Rex"), today)


def test_a_renamed_nested_class_is_found_by_its_alias() -> None:
    class Hound(BaseModel):
        model_config = ConfigDict(json_schema_extra={"aliases": ["Dog"]})
        name: str

    assert change(Cat | Dog, Dog(name="Rex"), Cat | Hound) == Hound(name="Rex")
    assert change(Dog, Dog(name="Rex"), Hound) == Hound(name="Rex")


class Node(BaseModel):
    value: int
    children: list[Node] = []


def test_a_recursive_message_evolves_at_every_level() -> None:
    def after() -> type[BaseModel]:
        class Node(BaseModel):
            value: float
            children: list[Node] = []
            label: str = "none"

        return Node

    Later = after()
    found = rewrite(Node(value=1, children=[Node(value=2)]), Later)
    assert found == Later(value=1.0, children=[Later(value=2.0)])
    assert found.children[0].label == "none"


def test_a_writers_schema_is_asked_for_once() -> None:
    class Counting(MemorySchemaStore):
        asked = 0

        def get(self, fingerprint: int, *, patience_seconds: float | None = None) -> Any:
            self.asked += 1
            return super().get(fingerprint, patience_seconds=patience_seconds)

    class Kept(BaseModel):
        kept: int

    store = Counting()
    value = MessageCodec(Before, "message", store).encode(Before(kept=1))
    codec = MessageCodec(Kept, "message", store)
    assert [codec.decode(value), codec.decode(value)] == [Kept(kept=1)] * 2
    assert store.asked == 1


def test_a_writers_schema_that_cannot_be_read_is_asked_for_once() -> None:
    class Added(BaseModel):
        kept: int
        added: str

    class Counting(MemorySchemaStore):
        def __init__(self) -> None:
            super().__init__()
            self.patience: list[float | None] = []

        def get(self, fingerprint: int, *, patience_seconds: float | None = None) -> Any:
            self.patience.append(patience_seconds)
            return super().get(fingerprint, patience_seconds=patience_seconds)

    store = Counting()
    value = MessageCodec(Before, "message", store).encode(Before(kept=1))
    codec = MessageCodec(Added, "message", store)
    for _ in range(2):
        with pytest.raises(DecodeError, match=r"message\.added: .*give it a default"):
            codec.decode(value, patience_seconds=2)
    assert store.patience == [2]


def test_an_unknown_writer_is_not_remembered_as_unknown() -> None:
    class Kept(BaseModel):
        kept: int

    store = MemorySchemaStore()
    value = MessageCodec(Before, "message", MemorySchemaStore()).encode(Before(kept=1))
    codec = MessageCodec(Kept, "message", store)
    with pytest.raises(UnknownFingerprint):
        codec.decode(value)
    MessageCodec(Before, "message", store).register()
    assert codec.decode(value) == Kept(kept=1)
