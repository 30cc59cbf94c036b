"""The command `eventsource`: global options, sub-commands, and what becomes of errors."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import sys
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from eventsource.cli import config, dev, dev_rebuild, doctor, events, init, run, schemas, send, state, topics
from eventsource.cli.completion import join_colons
from eventsource.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, OK, UNEXPECTED, USAGE, exit_code_of
from eventsource.cli.help import CommandGroup
from eventsource.cli.logs import LEVELS, configure_logging
from eventsource.cli.output import Invocation, printable, report, warn
from eventsource.cli.plugins import GROUP, add_plugins
from eventsource.cli.shadowing import find_shadows
from eventsource.cli.stderr import COMMAND_LOGGER, FORMATS, JsonLines, LogFormat, plain_stderr, standard_error
from eventsource.domain.rejected import Rejected
from eventsource.errors import EventSourceError
from eventsource.redaction import redact_text

DISTRIBUTION: Final = "eventsource-kafka"
PROGRAM: Final = "eventsource"
COMPLETION_VARIABLE: Final = "_EVENTSOURCE_COMPLETE"
FORMAT_VARIABLE: Final = "EVENTSOURCE_LOG_FORMAT"
_COMMANDS: Final = {
    "init": init,
    "dev": dev,
    dev_rebuild.VERB: dev_rebuild,
    "run": run,
    "send": send,
    "topics": topics,
    "doctor": doctor,
    "schemas": schemas,
    "events": events,
    "state": state,
    "config": config,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code (see `eventsource.cli.exit_codes`).

    An error is one sentence on stderr; a JSON object there with `--json`, or where stderr is no terminal.
    """
    given = _debug_first(list(sys.argv[1:] if arguments is None else arguments))
    invocation = Invocation(json="--json" in _options(given))
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What the terminal's encoding lacks is shown as an escape.
            stream.reconfigure(errors="backslashreplace")
    try:
        with standard_error(_log_format(given)):
            code = _run(given, invocation)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    return code


def _run(given: list[str], invocation: Invocation) -> int:
    try:
        command = typer.main.get_command(build(invocation, given))
        if COMPLETION_VARIABLE in os.environ:
            return _complete(command, os.environ)
        # Not its `main`, which ends the process with 1 when the reader of the output went away.
        with command.make_context(PROGRAM, given, obj=invocation) as context:
            return _code_of(command.invoke(context))
    except typer.Exit as ended:
        return ended.exit_code
    except SystemExit as ended:
        return _code_of(ended.code)
    except (KeyboardInterrupt, typer.Abort):
        _report("interrupted", "interrupted", INTERRUPTED, "Interrupted", invocation)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except typer.TyperException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", PROGRAM)
        message = f"{error.format_message().strip().rstrip('.')}: see `{path} --help`"
        _report(f"error: {message}", message, USAGE, "UsageError", invocation)
        return USAGE
    except Exception as error:  # noqa: BLE001  whatever it is, it ends in one sentence and an exit code
        return _fail(error, invocation)


def build(invocation: Invocation, arguments: Sequence[str] = ()) -> typer.Typer:
    """The command with all its sub-commands, those of plug-ins included.

    Plug-ins are loaded only where `arguments` may mean one of them: importing the read side takes longer than most commands.
    """
    root = typer.Typer(
        name=PROGRAM,
        help="Kafka-first event sourcing: run an app's workers, look into its log, rebuild its read models.",
        cls=CommandGroup,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    root.callback(invoke_without_command=True)(_globals)
    for command in _COMMANDS.values():
        command.register(root)
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if verb not in _COMMANDS:
        invocation.warnings += add_plugins(root, entry_points(group=GROUP), _COMMANDS)
    return root


def _version(wanted: bool) -> None:
    if wanted:
        from confluent_kafka import libversion

        print(f"eventsource {version(DISTRIBUTION)} (Python {sys.version.split()[0]}, librdkafka {libversion()[0]})")
        raise typer.Exit


def _globals(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, and log everything.")] = False,
    log_level: Annotated[
        str,
        typer.Option(
            "--log-level", envvar="EVENTSOURCE_LOG_LEVEL", metavar="LEVEL", help=f"One of {', '.join(LEVELS)}."
        ),
    ] = "info",
    log_format: Annotated[
        str,
        typer.Option(
            "--log-format",
            envvar=FORMAT_VARIABLE,
            metavar="FORMAT",
            help="What stderr holds: text, or one JSON object a line; auto is text on a terminal.",
        ),
    ] = "auto",
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show versions.")
    ] = False,
) -> None:
    invocation = context.ensure_object(Invocation)
    invocation.debug = debug
    if log_level.lower() not in LEVELS:
        raise typer.BadParameter(
            f"{log_level!r} is not a level: use one of {', '.join(LEVELS)}", param_hint="--log-level"
        )
    if log_format not in FORMATS:
        raise typer.BadParameter(
            f"{log_format!r} is not a format: use one of {', '.join(FORMATS)}", param_hint="--log-format"
        )
    configure_logging(
        plain_stderr(),
        level="debug" if debug else log_level.lower(),
        debug=debug,
        as_json=isinstance(sys.stderr, JsonLines),
    )
    shadows = [str(shadow) for shadow in find_shadows()]
    told = "".join(invocation.warnings)
    for warning in (*invocation.warnings, *(shadow for shadow in shadows if shadow not in told)):
        warn(warning)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(USAGE)


def _options(arguments: list[str]) -> list[str]:
    """The words before `--`."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _complete(command: Any, environment: MutableMapping[str, str]) -> int:
    """Prints what the shell offers. Bash has split MODULE:APP in three, and keeps what it will not replace of the current word."""
    words, current, kept = join_colons(environment.get("COMP_WORDS", ""), int(environment.get("COMP_CWORD", "0")))
    environment.update({"COMP_WORDS": words, "COMP_CWORD": str(current)})
    offers = io.StringIO()
    try:
        with contextlib.redirect_stdout(offers):
            return _code_of(command.main([], prog_name=PROGRAM, standalone_mode=False))
    finally:
        print("".join(line.removeprefix(kept) for line in offers.getvalue().splitlines(keepends=True)), end="")


def _debug_first(arguments: list[str]) -> list[str]:
    """`--debug` may stand anywhere: it is what one adds at the end of a line that failed."""
    options = _options(arguments)
    if "--debug" not in options:
        return arguments
    return ["--debug", *(word for word in options if word != "--debug"), *arguments[len(options) :]]


def _log_format(arguments: list[str]) -> LogFormat:
    """What was chosen, as far as that is known before the options are read; a wrong choice is refused then."""
    options, name = _options(arguments), "--log-format"
    chosen = os.environ.get(FORMAT_VARIABLE)
    for word, after in itertools.zip_longest(options, options[1:]):
        if word == name:
            chosen = after
        elif word.startswith(f"{name}="):
            chosen = word.removeprefix(f"{name}=")
    return "text" if chosen == "text" else "json" if chosen == "json" else "auto"


def _code_of(value: object) -> int:
    return value if isinstance(value, int) else OK if value is None else UNEXPECTED


def _discard_output() -> None:
    """What is left to be flushed at exit has nowhere to go either."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # a stream that is no file has nothing to flush
        pass


def _fail(error: Exception, invocation: Invocation) -> int:
    from confluent_kafka import KafkaException

    from eventsource.cli.kafka_errors import explain

    if isinstance(error, KafkaException):
        error = explain(error)
    if invocation.debug:
        _print_traceback(error)
    text = redact_text(str(error))
    if isinstance(error, EventSourceError):
        _report(f"error: {text}", text, exit_code_of(error), type(error).__name__, invocation, _details_of(error))
        return exit_code_of(error)
    hint = (
        "" if invocation.debug else ": run it again with --debug to see where, and report it if the fault is not yours"
    )
    kind = type(error).__name__
    _report(f"error: unexpected {kind}: {text}{hint}", f"{text}{hint}", UNEXPECTED, kind, invocation)
    return UNEXPECTED


def _report(
    sentence: str,
    message: str,
    code: int,
    kind: str,
    invocation: Invocation,
    details: Mapping[str, object] | None = None,
) -> None:
    error = {"class": kind, "message": message, "exit_code": code, **({"details": details} if details else {})}
    report(sentence, error, always_json=invocation.json)


def _details_of(error: EventSourceError) -> dict[str, object]:
    """What the error knows beside its text, such as the `command_id` to send a command again with."""
    if isinstance(error, Rejected):
        return {"code": error.code, **error.details()}
    found = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    return {name: redact_text(value) if isinstance(value, str) else value for name, value in found.items()}


def _print_traceback(error: Exception) -> None:
    lines = traceback.format_exception(error)
    if isinstance(sys.stderr, JsonLines):
        sys.stderr.emit("debug", COMMAND_LOGGER, "traceback", traceback=redact_text("".join(lines)))
    else:
        sys.stderr.write("\n".join(map(printable, redact_text("".join(lines)).split("\n"))))
