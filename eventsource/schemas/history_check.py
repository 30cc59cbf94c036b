"""Whether today's event classes can read what was ever written with their names: found on schemas alone, without a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from eventsource.domain import Aggregate
from eventsource.errors import DecodeError
from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.message_schema import message_schema
from eventsource.schemas.plans import (
    ArrayPlan,
    EntriesPlan,
    EnumPlan,
    MapPlan,
    Plan,
    RecordPlan,
    RefusalPlan,
    TuplePlan,
    UnionPlan,
)
from eventsource.schemas.resolution import resolve
from eventsource.schemas.schema_text import EVENT_ROLE, SchemaText

_LONGEST_PATH: Final = 8


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A schema that events were written with and that today's class cannot read. `reason` names field and remedy.

    `missing`: there is no such class today. It may be one of a release that was taken back before it wrote any event.
    """

    aggregate: str
    event: str
    fingerprint: str
    reason: str
    missing: bool = False

    def __str__(self) -> str:
        return f"event {self.event!r} of {self.aggregate}, as written with schema {self.fingerprint}: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Event:
    aggregate: str
    event: str
    schema: AvroSchema


def unreadable_history(
    aggregates: Mapping[str, type[Aggregate[Any]]], registered: Iterable[SchemaText]
) -> list[Unreadable]:
    """What of `registered` today's events cannot read, in the order of the schemas.

    A schema whose role says of which aggregates its events are is checked with theirs. One without a role, as of before roles were
    written, is checked with every event of its name: it is unreadable where none of them, and no command of that name, reads it.
    """
    events = [
        _Event(name, message.message_name, _schema_of(message))
        for name, aggregate in aggregates.items()
        for message in dict.fromkeys(aggregate.__definition__.events.values())
    ]
    commands = [
        _schema_of(message)
        for aggregate in aggregates.values()
        for message in dict.fromkeys(aggregate.__definition__.commands.values())
    ]
    found: list[Unreadable] = []
    for text in registered:
        roles = [role.removeprefix(EVENT_ROLE) for role in text.roles if role.startswith(EVENT_ROLE)]
        for aggregate in roles:
            if aggregate in aggregates:
                found += _of_aggregate(text, aggregate, [each for each in events if each.aggregate == aggregate])
        if not text.roles:
            bearers = [each for each in events if text.name in each.schema.names]
            reasons = [_reason(each.schema, text) for each in bearers]
            read_by_command = any(text.name in each.names and _reason(each, text) is None for each in commands)
            if bearers and None not in reasons and not read_by_command:
                found += [
                    Unreadable(each.aggregate, each.event, text.hex, reason or "")
                    for each, reason in zip(bearers, reasons, strict=True)
                ]
    return found


def _of_aggregate(text: SchemaText, aggregate: str, events: list[_Event]) -> Iterator[Unreadable]:
    bearer = next((each for each in events if text.name in each.schema.names), None)
    if bearer is None:
        yield Unreadable(
            aggregate,
            text.name,
            text.hex,
            f"{aggregate} has no event of this name today: keep the class, or give its successor the old name in aliases",
            missing=True,
        )
        return
    reason = _reason(bearer.schema, text)
    if reason is not None:
        yield Unreadable(aggregate, bearer.event, text.hex, reason)


def _schema_of(message: type[Any]) -> AvroSchema:
    return message_schema(message, message.message_name, message.message_aliases)


def _reason(schema: AvroSchema, written: SchemaText) -> str | None:
    """Why instances of the class cannot be made of everything that this schema can write; None where they can."""
    try:
        plan = resolve(schema.shape, written.schema(), schema.names)
    except DecodeError as error:
        return str(error)
    refusal = next(_refusals(plan), None)
    if refusal is None:
        return None
    path, reason = refusal
    return f"{'.'.join((schema.names[0], *path[:_LONGEST_PATH]))}: {reason}"


def _refusals(plan: RecordPlan) -> Iterator[tuple[tuple[str, ...], str]]:
    """What fails only when a message has it: branches and symbols that nothing of today takes."""
    seen: set[int] = set()
    left: list[tuple[tuple[str, ...], Plan]] = [((), plan)]
    while left:
        path, at = left.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        if isinstance(at, RefusalPlan):
            yield path, at.text
        elif isinstance(at, EnumPlan):
            for symbol in at.symbols:
                if symbol not in at.members:
                    yield path, str(_raised(lambda at=at, symbol=symbol: at.members[symbol]))  # type: ignore[misc]
        elif isinstance(at, RecordPlan):
            if at.refusal is not None:
                yield path, at.refusal
            left += [((*path, field.field.name), field.plan) for field in at.fields if field.plan is not None]
        else:
            left += [(path, inner) for inner in _inner(at)]


def _inner(plan: Plan) -> Iterable[Plan]:
    match plan:
        case ArrayPlan(item=item):
            return (item,)
        case MapPlan(value=value):
            return (value,)
        case EntriesPlan(key=key, value=value):
            return (key, value)
        case TuplePlan(items=items):
            return items
        case UnionPlan(branches=branches):
            return tuple(inner for _, inner in branches)
        case _:
            return ()


def _raised(function: Callable[[], object]) -> Exception | None:
    try:
        function()
    except DecodeError as error:
        return error
    return None
