"""`eventsource events tail|show`: looking into the log."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventsource.cli.completion import complete_aggregate
from eventsource.cli.help import CommandGroup
from eventsource.cli.options import Json, Place, find_app, known_aggregate, split_app, split_place
from eventsource.cli.output import check_output_is_read, counted, note, print_json, print_line, print_table, warn
from eventsource.cli.values import json_form, plain_text
from eventsource.errors import DefinitionError, EventSourceError, SettingsError
from eventsource.log.recorded import time_from_ms
from eventsource.settings import load_settings

if TYPE_CHECKING:
    from eventsource.cli.event_reading import UnreadableEvent
    from eventsource.log.record import Record
    from eventsource.log.recorded import Recorded

_LONGEST_RAW = 400


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="The events in the log.", cls=CommandGroup, rich_markup_mode=None)
    group.command("tail")(tail)
    group.command("show")(show)
    root.add_typer(group, name="events")


def tail(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODULE:APP] [AGGREGATE]",
            help="The app, and one of its aggregates; all of them unless given.",
            autocompletion=complete_aggregate,
        ),
    ] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest event, not with the next.")
    ] = False,
    follow_: Annotated[
        bool,
        typer.Option("--follow/--no-follow", help="Go on with what is recorded later, or end where the log ends now."),
    ] = True,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="End after so many events.")] = None,
    json: Json = False,
) -> None:
    """Print events as they are recorded. The order holds within each aggregate; across them it is that of arrival."""
    from eventsource.cli.event_reading import follow

    reference, aggregate = _split(what or [])
    found = find_app(reference)
    aggregates = [known_aggregate(found, aggregate)] if aggregate is not None else list(found.aggregates)
    read = follow(
        found,
        load_settings(),
        aggregates,
        from_beginning=from_beginning,
        follow=follow_,
        on_wait=check_output_is_read,
    )
    for record, decoded in islice(read, limit):
        _print_tail(record, decoded, json=json)


def show(
    what: Place,
    json: Json = False,
) -> None:
    """Print all events of one aggregate in order, and check that no version is missing or there twice.

    Reads only the partition that holds the aggregate. An event that today's classes cannot read is shown with the reason and
    its raw bytes. Exits with 2 then, with 4 when there is no such aggregate, with 5 when its history has a gap or a repeat.
    """
    from eventsource.cli.event_reading import UnreadableEvent, history

    reference, aggregate, aggregate_id = split_place(what, "events show")
    found = find_app(reference)
    began = time.monotonic()
    events, problem = history(found, load_settings(), known_aggregate(found, aggregate), aggregate_id)
    if json:
        print_json(
            {
                "aggregate": aggregate,
                "id": aggregate_id,
                "version": next((e.version for e in reversed(events) if e.version is not None), None),
                "events": [unreadable_as_json(e) if isinstance(e, UnreadableEvent) else as_json(e) for e in events],
            }
        )
    else:
        print_table(
            ("version", "time", "event", "fields", "actor", "command"),
            (_unreadable_row(e) if isinstance(e, UnreadableEvent) else _row(e) for e in events),
            title=f"{aggregate} {aggregate_id}",
        )
        note(
            f"{counted(len(events), 'event')} in partition {events[0].partition}, read in {time.monotonic() - began:.1f} s"
        )
    if problem is not None:
        raise problem
    unreadable = [e for e in events if isinstance(e, UnreadableEvent)]
    if unreadable:
        raise DefinitionError(
            f"{len(unreadable)} of {counted(len(events), 'event')} cannot be read with today's classes, so {aggregate} {aggregate_id} is "
            f"stopped: {unreadable[0].reason}"
        )


def _row(e: Recorded) -> tuple[object, ...]:
    return e.version, _time(e), _type(e), _fields(e), e.actor, f"{e.command_id} {e.index}/{e.count}"


def _unreadable_row(e: UnreadableEvent) -> tuple[object, ...]:
    time = time_from_ms(e.record.timestamp_ms).isoformat(sep=" ", timespec="milliseconds")
    raw = "no value" if e.record.value is None else _shortened(e.record.value.hex())
    fields = f"cannot be read: {e.reason}; raw: {raw}"
    return "?" if e.version is None else e.version, time, e.header("ce_type") or "?", fields, "", e.header("ce_id")


def unreadable_as_json(e: UnreadableEvent) -> dict[str, Any]:
    """An event that cannot be read, as `--json` prints it: all that there is of it. `raw` is in hexadecimal digits."""
    return {
        "version": e.version,
        "type": e.header("ce_type") or None,
        "error": str(e.reason),
        "raw": None if e.record.value is None else e.record.value.hex(),
        "headers": [
            [name, None if value is None else value.decode(errors="backslashreplace")]
            for name, value in e.record.headers or ()
        ],
        "time": time_from_ms(e.record.timestamp_ms).isoformat(),
        "partition": e.partition,
        "offset": e.offset,
    }


def _shortened(digits: str) -> str:
    return digits if len(digits) <= _LONGEST_RAW else f"{digits[:_LONGEST_RAW]}… (all of it with --json)"


def as_json(recorded: Recorded) -> dict[str, Any]:
    """An event as the `--json` options print it."""
    return {
        "aggregate": recorded.aggregate,
        "id": recorded.id,
        "version": recorded.version,
        "type": _type(recorded),
        "data": recorded.event,
        "time": recorded.time.isoformat(),
        "actor": recorded.actor,
        "metadata": recorded.metadata,
        "command_id": recorded.command_id,
        "correlation_id": recorded.correlation_id,
        "index": recorded.index,
        "count": recorded.count,
        "partition": recorded.partition,
        "offset": recorded.offset,
    }


def _split(words: list[str]) -> tuple[str | None, str | None]:
    reference, aggregates = split_app(words)
    if len(aggregates) > 1:
        raise SettingsError(
            "events tail takes one app and one aggregate: write `eventsource events tail MODULE:APP AGGREGATE`"
        )
    return reference, next(iter(aggregates), None)


def _print_tail(record: Record, decoded: Recorded | EventSourceError, *, json: bool) -> None:
    where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    if isinstance(decoded, EventSourceError):
        if json:
            print_json({**where, "error": {"class": type(decoded).__name__, "message": str(decoded)}}, indent=None)
        else:
            warn(f"{record.topic}[{record.partition}] offset {record.offset} cannot be read: {decoded}")
    elif json:
        print_json({"topic": record.topic, **as_json(decoded)}, indent=None)
    else:
        name = f"{decoded.aggregate} {decoded.id}"
        print_line(f"{_time(decoded)}  {name}  v{decoded.version}  {_type(decoded)}  {_fields(decoded)}")


def _type(recorded: Recorded) -> str:
    return type(recorded.event).message_name


def _time(recorded: Recorded) -> str:
    return recorded.time.isoformat(sep=" ", timespec="milliseconds")


def _fields(recorded: Recorded) -> str:
    return " ".join(f"{name}={plain_text(value)}" for name, value in json_form(recorded.event).items())
