"""Messages: what is asked of an aggregate (`Command`) and what became of it (`Event`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from eventsource.domain.annotations import annotations_of, name_of
from eventsource.domain.exact import check_exact_fields
from eventsource.domain.naive_datetimes import warn_of_naive_datetimes
from eventsource.errors import DefinitionError
from eventsource.names import check_name


class Message(BaseModel):
    """A frozen pydantic model whose name in the log is given, never derived from where its class lives.

    Class arguments: `name`, lower-case words joined by hyphens; `aliases`, the names that it bore before; `abstract=True` instead of a
    name for a base that only shares fields; `naive_datetimes=True`, for subclasses too, where fields annotated with `datetime` may hold
    times without a zone (otherwise a `NaiveDatetimeWarning` reports such fields). Unknown fields are refused when a message is made. A
    class that breaks a rule is refused with `DefinitionError` while it is defined.
    """

    # Arbitrary types pass pydantic only to be refused by `check_exact_fields`, which names the field and the mend.
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    message_name: ClassVar[str]
    message_aliases: ClassVar[tuple[str, ...]] = ()
    message_revision: ClassVar[int] = 1
    message_abstract: ClassVar[bool] = True
    message_kind: ClassVar[str] = "message"
    message_naive_datetimes: ClassVar[bool] = False
    message_is_complete: ClassVar[bool] = False

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        aliases: tuple[str, ...] = (),
        abstract: bool = False,
        naive_datetimes: bool | None = None,
    ) -> None:
        super().__init_subclass__()
        cls.message_revision = 1
        cls.message_is_complete = False
        if naive_datetimes is not None:
            cls.message_naive_datetimes = _checked_flag(cls, naive_datetimes)
        _take_name(cls, name, aliases, abstract=abstract)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        _check_config(cls)
        if cls.__pydantic_generic_metadata__["parameters"]:
            _check_generic(cls)
        elif cls.__pydantic_fields_complete__:
            complete_message(cls)


def complete_message(cls: type[Message]) -> bool:
    """Checks the fields of a message once all their types are known, at its definition or when an aggregate uses it.

    Returns whether they are. Raises `NoExactForm`; warns once of fields that take datetimes without a time zone.
    """
    if not check_exact_fields(cls):
        return False
    if not cls.message_is_complete:
        cls.message_is_complete = True
        if not cls.message_naive_datetimes:
            own = cls.__pydantic_fields__ if _is_parametrised(cls) else annotations_of(cls)
            warn_of_naive_datetimes(cls, frozenset(own))
    return True


def _checked_flag(cls: type[Message], naive_datetimes: object) -> bool:
    if not isinstance(naive_datetimes, bool):
        raise DefinitionError(
            f"{cls.message_kind} {name_of(cls)} has naive_datetimes={naive_datetimes!r}: give True or False"
        )
    return naive_datetimes


def _take_name(cls: type[Message], name: str | None, aliases: tuple[str, ...], *, abstract: bool) -> None:
    where = f"{cls.message_kind} {name_of(cls)}"
    cls.message_abstract = abstract
    cls.message_aliases = ()
    if _is_parametrised(cls):
        cls.message_abstract = True
        return
    if abstract:
        if name is not None or aliases:
            raise DefinitionError(f"{where} is abstract and never reaches the log: leave out its name and aliases")
        return
    if name is None:
        raise DefinitionError(
            f'{where} has no name: write class {cls.__name__}(…, name="…"), the name it keeps in the log for ever, or '
            "abstract=True for a base that only shares fields"
        )
    cls.message_name = check_name(name, f"the name of {where},")
    cls.message_aliases = _checked_aliases(where, name, aliases)


def _checked_aliases(where: str, name: str, aliases: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(aliases, str):
        raise DefinitionError(f"{where} has aliases={aliases!r}: give a tuple, such as aliases=({aliases!r},)")
    for alias in aliases:
        check_name(alias, f"an alias of {where},")
    if len({name, *aliases}) != len(aliases) + 1:
        raise DefinitionError(
            f"{where} bears one name twice: leave each of {name!r} and its aliases {aliases!r} there once"
        )
    return tuple(aliases)


def _is_parametrised(cls: type[Message]) -> bool:
    # pydantic makes a subclass for `Changed[Decimal]`, and no class statement can hold a bracket in its name
    return "[" in cls.__name__


def _check_generic(cls: type[Message]) -> None:
    if not cls.message_abstract:
        raise DefinitionError(
            f"{cls.message_kind} {name_of(cls)} is generic and has a name, which all its forms would share: make it "
            "abstract=True and give each form a subclass with a name of its own"
        )


def _check_config(cls: type[Message]) -> None:
    for field in cls.__pydantic_fields__:
        if field in Message.__annotations__:
            raise DefinitionError(
                f"{cls.message_kind} {name_of(cls)} has a field {field!r}, a name that is taken: rename it"
            )
    for setting, value in (("frozen", True), ("extra", "forbid")):
        if cls.model_config.get(setting) != value:
            raise DefinitionError(
                f"message {name_of(cls)} sets {setting}={cls.model_config.get(setting)!r}: leave it out, since every "
                f"message is {'frozen' if setting == 'frozen' else 'made of its declared fields alone'}"
            )


class Command(Message, abstract=True):
    """A request to one aggregate, in the imperative. It may be rejected.

    `class Deposit(Command, name="deposit")`; after a rename `aliases=("pay-in",)` keeps what is under way readable.
    """

    message_kind: ClassVar[str] = "command"


class Event(Message, abstract=True):
    """A fact about one aggregate, in the past tense, never changed.

    `class Deposited(Event, name="deposited", revision=2, aliases=("paid-in",))`. `revision` (from 1) is raised when the
    fields change in a way that old events need upcasting for.
    """

    message_kind: ClassVar[str] = "event"

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        revision: int = 1,
        aliases: tuple[str, ...] = (),
        abstract: bool = False,
        naive_datetimes: bool | None = None,
    ) -> None:
        super().__init_subclass__(name=name, aliases=aliases, abstract=abstract, naive_datetimes=naive_datetimes)
        if not isinstance(revision, int) or isinstance(revision, bool) or revision < 1:
            raise DefinitionError(f"event {name_of(cls)} has revision={revision!r}: give a whole number from 1 upwards")
        cls.message_revision = revision
