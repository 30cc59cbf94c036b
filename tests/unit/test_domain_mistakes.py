"""Mistakes in an aggregate are found while its class is defined, and the text names the class, the method and the mend."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pydantic
import pytest

from eventsource.domain import Aggregate, Command, Context, Event, applies, creates, decides
from eventsource.errors import DefinitionError
from tests.creatable import Creatable

if TYPE_CHECKING:
    from collections import OrderedDict as OnlyForCheckers


class Open(Command, name="open"):
    pass


class Go(Command, name="go"):
    pass


class Stop(Command, name="stop"):
    pass


class Opened(Event, name="opened"):
    pass


class Gone(Event, name="gone"):
    pass


class Stopped(Event, name="stopped"):
    pass


class AnyCommand(Command, abstract=True):
    pass


@contextmanager
def refused(*said: str) -> Iterator[None]:
    with pytest.raises(DefinitionError) as caught:
        yield
    text = str(caught.value)
    for words in said:
        assert words in text
    assert not re.search("locals", text), text


# --- annotations --------------------------------------------------------------------------------------------------


def test_a_method_without_an_annotation_is_refused() -> None:
    with refused("Robot.go", "'command' has no annotation", "annotate it with the command"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command): ...


def test_a_method_without_a_message_is_refused() -> None:
    with refused("Robot.go takes no message", "add a parameter annotated with the event"):

        class Robot(Aggregate, name="robot"):
            @applies
            def go(self) -> None: ...


def test_an_annotation_that_is_no_message_is_refused() -> None:
    with refused("Robot.go", "'command' is annotated with str, which is no message", "annotate it with the command"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: str) -> None: ...


def test_an_annotation_with_an_abstract_message_is_refused() -> None:
    with refused("Robot.go", "AnyCommand, which is abstract", "name the messages themselves"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: AnyCommand) -> None: ...


def test_an_optional_message_is_refused() -> None:
    with refused("Robot.go", "NoneType, which is no message"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: Go | None) -> None: ...


def test_a_name_that_is_not_defined_is_refused() -> None:
    with refused("Robot.go", "'Missing'", "define or import it above the class"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: Missing) -> None: ...  # noqa: F821


def test_a_name_imported_for_type_checkers_alone_is_refused() -> None:
    with refused("Robot.go", "'OnlyForCheckers'", "outside of `if TYPE_CHECKING:`"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: Go) -> OnlyForCheckers[str, str]: ...


def test_an_annotation_that_is_no_type_is_refused() -> None:
    with refused("Robot.go", "is not a type", "mend it"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: Go.Missing) -> None: ...


def test_commands_and_events_in_one_method_are_refused() -> None:
    with refused("Robot.go takes commands and events at once", "one method for each kind"):

        class Robot(Aggregate, name="robot"):
            @creates
            @classmethod
            def go(cls, message: Go | Gone) -> Self: ...


def test_deciding_on_an_event_is_refused() -> None:
    with refused("Robot.go decides on Gone, which is an event", "use @applies"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, event: Gone) -> None: ...


def test_applying_a_command_is_refused() -> None:
    with refused("Robot.go applies Go, which is a command", "use @decides"):

        class Robot(Aggregate, name="robot"):
            @applies
            def go(self, command: Go) -> None: ...


# --- parameters and kinds of methods ------------------------------------------------------------------------------


def test_a_second_parameter_that_is_no_context_is_refused() -> None:
    with refused("Robot.go", "'speed' is annotated with int", "besides the command is a Context"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: Go, speed: int) -> None: ...


@pytest.mark.parametrize(
    "rest", ["context: Context, speed: int", "*, context: Context", "**rest: int", "context: Context, speed: int = 1"]
)
def test_an_unknown_parameter_is_refused(rest: str) -> None:
    names: dict[str, Any] = {**globals()}
    with refused("Robot.go: the parameter", "is unknown", "a Context"):
        exec(
            f"class Robot(Aggregate, name='robot'):\n    @decides\n    def go(self, command: Go, {rest}) -> None: ...",
            names,
        )


@pytest.mark.parametrize("rest", ["context: Context", "other"])
def test_an_applying_method_that_wants_more_than_the_event_is_refused(rest: str) -> None:
    with refused("Robot.on_gone", "takes nothing else", f"take away the parameter {rest.partition(':')[0]!r}"):
        exec(
            f"class Robot(Aggregate, name='robot'):\n    @applies\n    def on_gone(self, event: Gone, {rest}): ...",
            {**globals()},
        )


def test_creating_without_classmethod_is_refused() -> None:
    with refused("Robot.open: @creates needs a classmethod", "put @classmethod below it"):

        class Robot(Aggregate, name="robot"):
            @creates
            def open(self, command: Open) -> Opened: ...


def test_creating_by_a_staticmethod_is_refused() -> None:
    with refused("Robot.open: @creates needs a classmethod", "put @classmethod below it"):

        class Robot(Aggregate, name="robot"):
            @creates
            @staticmethod
            def open(command: Open) -> Opened: ...


@pytest.mark.parametrize("decorator", ["decides", "applies"])
@pytest.mark.parametrize("kind", ["classmethod", "staticmethod"])
def test_deciding_and_applying_need_an_ordinary_method(decorator: str, kind: str) -> None:
    with refused(f"Robot.go: @{decorator} needs an ordinary method", f"take away @{kind}", "use @creates"):
        exec(
            f"class Robot(Aggregate, name='robot'):\n    @{decorator}\n    @{kind}\n    def go(self, command: Go): ...",
            {**globals()},
        )


def test_a_property_cannot_be_marked() -> None:
    with refused("@decides stands above", "which is no method", "put it above a def"):

        class Robot(Aggregate, name="robot"):
            @decides
            @property
            def go(self) -> None: ...


def test_two_marks_on_one_method_are_refused() -> None:
    with refused("Robot.go bears @applies and @decides", "keep one"):

        class Robot(Aggregate, name="robot"):
            @decides
            @applies
            def go(self, command: Go) -> None: ...


def test_an_async_method_is_refused() -> None:
    with refused("Robot.go is async", "write def"):

        class Robot(Aggregate, name="robot"):
            @decides
            async def go(self, command: Go) -> None: ...

    with refused("Robot.stop is async", "write def"):

        class Robot2(Aggregate, name="robot"):
            @decides
            async def stop(self, command: Stop) -> AsyncIterator[Stopped]:
                yield Stopped()

            stop.__qualname__ = "Robot.stop"

            __qualname__ = "Robot"


def test_an_applying_method_that_yields_is_refused() -> None:
    with refused("Robot.on_gone", "must not yield", "take the yield out"):

        class Robot(Aggregate, name="robot"):
            @applies
            def on_gone(self, event: Gone) -> Iterator[None]:
                yield


def test_a_handwritten_decide_that_takes_no_message_is_refused() -> None:
    with refused("Robot.decide", "'what' has no annotation"):

        class Robot(Aggregate, name="robot"):
            def decide(self, what): ...


# --- messages and methods together --------------------------------------------------------------------------------


def test_two_methods_for_one_command_are_refused() -> None:
    with refused("Robot: the methods 'go' and 'run' both decide on Go", "keep one"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: Go) -> None: ...
            @decides
            def run(self, command: Stop | Go) -> None: ...


def test_a_method_and_a_handwritten_decide_for_one_command_are_refused() -> None:
    with refused("Robot: the methods 'go' and 'decide' both decide on Go", "keep one"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: Go) -> None: ...
            def decide(self, command: Stop | Go) -> None: ...


def test_two_methods_that_apply_one_event_are_refused() -> None:
    with refused("Robot: the methods 'on_gone' and 'on_run' both apply Gone", "keep one"):

        class Robot(Aggregate, name="robot"):
            @applies
            def on_gone(self, event: Gone) -> None: ...
            @applies
            def on_run(self, event: Gone) -> None: ...


def test_two_methods_of_one_name_are_refused() -> None:
    with refused("Robot.on_gone is defined twice", "rename one"):

        class Robot(Aggregate, name="robot"):
            @applies
            def on_gone(self, event: Gone) -> None: ...
            @applies
            def on_gone(self, event: Stopped) -> None: ...  # noqa: F811


@pytest.mark.parametrize(
    "returns", ["Gone", "Stopped | Gone", "tuple[Stopped, Gone]", "list[Gone]", "Iterator[Gone]", "Gone | None"]
)
def test_an_event_that_nothing_applies_is_refused(returns: str) -> None:
    with refused("Robot.go returns Gone, an event that nothing in Robot applies", "add a method with @applies"):
        exec(
            "class Robot(Aggregate, name='robot'):\n"
            f"    @decides\n    def go(self, command: Go) -> {returns}: ...\n"
            "    @applies\n    def on_stopped(self, event: Stopped) -> None: ...\n",
            {**globals()},
        )


def test_an_event_that_only_creates_is_refused_from_an_aggregate_that_exists() -> None:
    with refused("Robot.go returns Opened for an aggregate that exists", "add a method with @applies"):

        class Robot(Aggregate, name="robot"):
            @creates
            @classmethod
            def on_opened(cls, event: Opened) -> Self: ...
            @decides
            def go(self, command: Go) -> list[Opened]: ...


def test_an_event_that_only_creates_is_refused_after_the_first() -> None:
    with refused("Robot.open returns Opened for an aggregate that exists", "add a method with @applies"):

        class Robot(Aggregate, name="robot"):
            @creates
            @classmethod
            def on_opened(cls, event: Opened) -> Self: ...
            @creates
            @classmethod
            def open(cls, command: Open) -> tuple[Opened, Opened]: ...


@pytest.mark.parametrize("returns", ["Gone", "tuple[Gone, Opened]", "list[Gone]", "Opened | Gone"])
def test_creating_by_an_event_that_only_changes_is_refused(returns: str) -> None:
    with refused("Robot.open creates by Gone, which nothing in Robot creates from", "add a classmethod with @creates"):
        exec(
            "class Robot(Aggregate, name='robot'):\n"
            f"    @creates\n    @classmethod\n    def open(cls, command: Open) -> {returns}: ...\n"
            "    @creates\n    @classmethod\n    def on_opened(cls, event: Opened) -> Self: ...\n"
            "    @applies\n    def on_gone(self, event: Gone) -> None: ...\n",
            {**globals()},
        )


def test_creating_in_a_list_may_begin_with_any_event_that_creates() -> None:
    class Robot(Aggregate, name="robot"):
        @creates
        @classmethod
        def open(cls, command: Open) -> list[Opened | Gone]: ...
        @creates
        @classmethod
        def on_opened(cls, event: Opened) -> Self: ...
        @applies
        def on_gone(self, event: Gone) -> None: ...

    assert Robot.__definition__.creating_commands == {Open}


def test_creating_when_no_event_creates_is_refused() -> None:
    with refused("Robot.open creates, and no event of Robot does", "add a classmethod with @creates"):

        class Robot(Aggregate, name="robot"):
            @creates
            @classmethod
            def open(cls, command: Open): ...


@pytest.mark.parametrize("returns", ["str", "int | Gone", "list[Go]", "Self", "Robot2"])
def test_returning_what_is_no_event_is_refused(returns: str) -> None:
    class Robot2:
        pass

    with refused("Robot.go returns", "which is no event", "return an event"):
        exec(
            f"class Robot(Aggregate, name='robot'):\n    @decides\n    def go(self, command: Go) -> {returns}: ...",
            {**globals(), "Robot2": Robot2},
        )


def test_one_name_for_two_messages_is_refused() -> None:
    class Went(Event, name="gone"):
        pass

    with refused("Robot: Gone and Went both bear the name 'gone'", "give one of them another name"):

        class Robot(Aggregate, name="robot"):
            @applies
            def on_gone(self, event: Gone | Went) -> None: ...


def test_one_name_as_name_and_alias_is_refused() -> None:
    class Went(Event, name="went", aliases=("gone",)):
        pass

    with refused("Robot: Gone and Went both bear the name 'gone'", "take away the alias"):

        class Robot(Aggregate, name="robot"):
            @applies
            def on_gone(self, event: Gone | Went) -> None: ...


def test_one_name_for_a_command_and_an_event_is_refused() -> None:
    class Went(Event, name="go"):
        pass

    with refused("Robot: Go and Went both bear the name 'go'"):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: Go) -> Went: ...
            @applies
            def on_went(self, event: Went) -> None: ...


def test_a_command_that_the_union_names_and_nothing_takes_is_refused() -> None:
    with refused("aggregate Robot: Aggregate[…] names Stop, and no method takes it", "add one with @decides"):

        class Robot(Aggregate[Go | Stop], name="robot"):
            @decides
            def go(self, command: Go) -> None: ...


def test_a_command_that_the_union_leaves_out_is_refused() -> None:
    with refused("aggregate Robot handles Stop, and Aggregate[…] does not name it", "add it to the union"):

        class Robot(Aggregate[Go], name="robot"):
            @decides
            def go(self, command: Go | Stop) -> None: ...


def test_a_method_that_replaces_a_handler_without_a_mark_is_refused() -> None:
    class Base(Aggregate, abstract=True):
        @decides
        def go(self, command: Go) -> None: ...

    with refused("Robot.go replaces a method that handles a message, and is not marked", "put the decorator above it"):

        class Robot(Base, name="robot"):
            def go(self, command: Go) -> None: ...


# --- fields and names ---------------------------------------------------------------------------------------------


def test_a_handler_named_like_a_field_is_refused() -> None:
    with refused("Robot.speed is a field and a method", "rename one"):

        class Robot(Aggregate, name="robot"):
            speed: int

            @decides
            def speed(self, command: Go) -> None: ...


@pytest.mark.parametrize(
    "method",
    [
        "def speed(self): ...",
        "@property\n    def speed(self): ...",
        "@classmethod\n    def speed(cls): ...",
        "@cached_property\n    def speed(self): ...",
    ],
)
def test_any_method_named_like_a_field_is_refused(method: str) -> None:
    with refused("Robot.speed is a field and a method", "rename one"):
        exec(
            f"class Robot(Aggregate, name='robot'):\n    speed: int\n    {method}",
            {**globals(), "cached_property": cached_property},
        )


def test_a_field_named_like_an_inherited_handler_is_refused() -> None:
    class Base(Aggregate, abstract=True):
        @decides
        def go(self, command: Go) -> None: ...

    with refused("Robot.go is a field and a method", "rename one"):

        class Robot(Base, name="robot"):
            go: int


def test_a_handler_named_like_an_inherited_field_is_refused() -> None:
    class Base(Aggregate, abstract=True):
        go: int

    with refused("Robot.go is a field and a method", "rename one"):

        class Robot(Base, name="robot"):
            @decides
            def go(self, command: Go) -> None: ...


def test_a_default_that_all_aggregates_would_share_is_refused() -> None:
    with refused(
        "Robot.parts has a default that all aggregates would share", "dataclasses.field(default_factory=list)"
    ):

        class Robot(Aggregate, name="robot"):
            parts: list[str] = []  # noqa: RUF012


def test_a_default_by_pydantics_field_is_refused() -> None:
    with refused("Robot.parts has pydantic's Field as its default", "dataclasses.field(default_factory=list)"):

        class Robot(Aggregate, name="robot"):
            parts: list[str] = pydantic.Field(default_factory=list)

    with refused("Arm.length has pydantic's Field as its default", "write the default itself"):

        class Arm(Aggregate, name="arm"):
            length: int = pydantic.Field(default=1)


def test_what_the_class_shares_on_purpose_is_no_default() -> None:
    class Robot(Creatable, name="robot"):
        known: ClassVar[list[str]] = []
        parts: list[str] = dataclasses.field(default_factory=list)

    assert Robot().parts == []


def test_an_aggregate_without_a_name_is_refused() -> None:
    with refused("aggregate Robot has no name", 'class Robot(…, name="…")', "abstract=True"):

        class Robot(Aggregate):
            pass


def test_the_name_of_a_base_is_not_inherited() -> None:
    class Base(Creatable, name="base"):
        pass

    with refused("aggregate Robot has no name"):

        class Robot(Base):
            pass


def test_an_abstract_aggregate_with_a_name_is_refused() -> None:
    with refused("aggregate Robot is abstract", "leave out its name"):

        class Robot(Aggregate, name="robot", abstract=True):
            pass


def test_a_name_that_no_topic_could_hold_is_refused() -> None:
    with refused("the name of aggregate Robot, 'My_Robot'", "use lower-case letters"):

        class Robot(Aggregate, name="My_Robot"):
            pass


def test_mistakes_in_an_abstract_base_are_found_there() -> None:
    with refused("Base.go", "'command' has no annotation"):

        class Base(Aggregate, abstract=True):
            balance: Decimal

            @decides
            def go(self, command, context: Context): ...


def test_an_aggregate_that_nothing_creates_is_refused() -> None:
    with refused(
        "aggregate Robot can never exist", "add a classmethod with @creates that takes the first event", "abstract=True"
    ):

        class Robot(Aggregate, name="robot"):
            @decides
            def go(self, command: Go) -> Gone: ...

            @applies
            def on_gone(self, event: Gone) -> None: ...

    with refused("aggregate Arm can never exist"):

        class Arm(Aggregate, name="arm"):
            pass


def test_an_aggregate_that_only_appended_events_create_is_none_of_these() -> None:
    class Robot(Aggregate, name="robot"):
        @creates
        @classmethod
        def on_opened(cls, event: Opened) -> Self: ...

    assert list(Robot.__definition__.events) == ["opened"]
