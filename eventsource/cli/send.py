"""`eventsource send`: a command from the command line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from eventsource.cli.command_input import command_class, command_from_json
from eventsource.cli.completion import complete_command
from eventsource.cli.exit_codes import TERMINATED
from eventsource.cli.options import Json, find_app, known_aggregate, split_app, time_of
from eventsource.cli.output import note, print_json, print_line, warn
from eventsource.clock import RandomIds, SystemClock
from eventsource.errors import InvalidArgument, OutcomeUnknown, SettingsError
from eventsource.settings import load_settings

if TYPE_CHECKING:
    from eventsource.commands.receipt import Receipt

_USAGE = "write `eventsource send MODULE:APP AGGREGATE ID COMMAND '{\"field\": value}'`"


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("send")(send)


def send(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODULE:APP] AGGREGATE ID COMMAND [JSON]",
            help="The app, the aggregate's name, its id, the command's name, and its fields as a JSON object; - reads that from "
            "standard input. Without it, the command has no fields.",
            autocompletion=complete_command,
        ),
    ],
    expected_version: Annotated[
        int | None,
        typer.Option(
            "--expected-version", min=0, metavar="N", help="Only if the aggregate is at that version; 0: not there yet."
        ),
    ] = None,
    command_id: Annotated[
        str | None,
        typer.Option(
            "--command-id",
            metavar="ID",
            help="With the same --sent-at, a command takes effect at most once; a new id unless given.",
        ),
    ] = None,
    sent_at: Annotated[
        str | None,
        typer.Option(
            "--sent-at", metavar="TIME", help="To repeat a command: when it was first sent, as its error said."
        ),
    ] = None,
    actor: Annotated[str, typer.Option("--actor", metavar="TEXT", help="Who sends it: kept with its events.")] = "",
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="NAME=TEXT", help="Kept with its events; repeatable."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", min=0.0, metavar="SECONDS", help="How long to wait for the answer.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Send one command and print its receipt. A worker must run.

    Exits with 6 when the domain rejects it, with 4 when the aggregate is missing, there already or at another version, with 7
    when no answer came: sent again with the same --command-id and --sent-at, it takes effect at most once.
    """
    reference, aggregate, aggregate_id, name, text = _split(what)
    first_sent = time_of("--sent-at", sent_at)
    texts = _metadata(metadata or [])
    app = find_app(reference)
    receiver = app.aggregates[known_aggregate(app, aggregate)]
    command = command_from_json(command_class(receiver, name), _read_stdin() if text == "-" else text)
    # Made here, so that they are known however the command ends.
    command_id = RandomIds().new() if command_id is None else command_id
    first_sent = SystemClock().now() if first_sent is None else first_sent
    with app.connect(load_settings()) as client, _exit_on_sigterm():
        try:
            receipt = client.send(
                receiver,
                aggregate_id,
                command,
                expected_version=expected_version,
                command_id=command_id,
                sent_at=first_sent,
                timeout=timeout,
                actor=actor,
                metadata=texts,
            )
        except (KeyboardInterrupt, SystemExit, OutcomeUnknown):
            _say_how_to_repeat(command_id, first_sent)
            raise
        # Before the connection is closed: an error there must not hide the receipt.
        _print(receipt, aggregate, name, json=json)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does, so that it still says how to repeat what it sent."""

    def leave(_signal: int, _frame: object) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _split(words: list[str]) -> tuple[str | None, str, str, str, str]:
    reference, rest = split_app(words)
    if len(rest) == 3:
        rest.append("{}")
    if len(rest) != 4:
        problem = "something is missing" if len(rest) < 4 else "there is too much: quote what has blanks"
        raise SettingsError(
            f"send takes an app, an aggregate, an id, a command and its fields, and {problem}; {_USAGE}"
        )
    aggregate, aggregate_id, name, text = rest
    return reference, aggregate, aggregate_id, name, text


def _metadata(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise InvalidArgument(f"--metadata {pair!r} has no name and text: write --metadata NAME=TEXT")
        if name in found:
            raise InvalidArgument(f"--metadata {name!r} is given twice: leave one of them out")
        found[name] = text
    return found


def _read_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise InvalidArgument("standard input is not UTF-8: write the command's fields as JSON in UTF-8") from None


def _say_how_to_repeat(command_id: str, sent_at: datetime) -> None:
    warn(
        "the command may have been executed: to learn its outcome, send it again with "
        f"--command-id {command_id} --sent-at {sent_at.isoformat()}"
    )


def _print(receipt: Receipt, aggregate: str, command: str, *, json: bool) -> None:
    if json:
        print_json(
            {
                "aggregate": aggregate,
                "id": receipt.aggregate_id,
                "command": command,
                "command_id": receipt.command_id,
                "version": receipt.version,
                "token": str(receipt.token),
            }
        )
        return
    print_line(f"{aggregate} {receipt.aggregate_id}  version {receipt.version}")
    note(f"{command} was accepted, command id {receipt.command_id}")
