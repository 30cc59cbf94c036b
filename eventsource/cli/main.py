"""The command `eventsource`: global options, sub-commands, and what becomes of errors."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, Final

import typer

from eventsource.cli import config, dev, doctor, events, init, run, state, topics
from eventsource.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, OK, UNEXPECTED, USAGE, exit_code_of
from eventsource.cli.logs import LEVELS, configure_logging
from eventsource.cli.output import Invocation, note
from eventsource.cli.plugins import GROUP, add_plugins
from eventsource.cli.shadowing import find_shadows
from eventsource.errors import EventSourceError
from eventsource.redaction import redact_text

DISTRIBUTION: Final = "eventsource-kafka"
_COMMANDS: Final = {
    "init": init,
    "dev": dev,
    "run": run,
    "topics": topics,
    "doctor": doctor,
    "events": events,
    "state": state,
    "config": config,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code (see `eventsource.cli.exit_codes`). Errors are one sentence on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    invocation = Invocation()
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        command = typer.main.get_command(build(invocation, given))
        code = command.main(_debug_first(given), prog_name="eventsource", standalone_mode=False, obj=invocation)
    except (KeyboardInterrupt, typer.Abort):
        note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # What is left to be flushed at exit has nowhere to go either.
        sys.stdout = None
        return BROKEN_PIPE
    except typer.TyperException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "eventsource")
        note(f"error: {error.format_message().strip().rstrip('.')}: see `{path} --help`")
        return USAGE
    except Exception as error:  # noqa: BLE001  whatever it is, it ends in one sentence and an exit code
        return _report(error, debug=invocation.debug)
    return code if isinstance(code, int) else OK


def build(invocation: Invocation, arguments: Sequence[str] = ()) -> typer.Typer:
    """The command with all its sub-commands, those of plug-ins included.

    Plug-ins are loaded only where `arguments` may mean one of them: importing the read side takes longer than most commands.
    """
    root = typer.Typer(
        name="eventsource",
        help="Kafka-first event sourcing: run an app's workers, look into its log, rebuild its read models.",
        add_completion=False,
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
    configure_logging(sys.stderr, level="debug" if debug else log_level.lower(), debug=debug)
    shadows = [str(shadow) for shadow in find_shadows()]
    told = "".join(invocation.warnings)
    for warning in (*invocation.warnings, *(shadow for shadow in shadows if shadow not in told)):
        note(f"warning: {warning}")
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(USAGE)


def _debug_first(arguments: list[str]) -> list[str]:
    """`--debug` may stand anywhere: it is what one adds at the end of a line that failed."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if "--debug" not in arguments[:end]:
        return arguments
    return ["--debug", *(word for word in arguments[:end] if word != "--debug"), *arguments[end:]]


def _report(error: Exception, *, debug: bool) -> int:
    from confluent_kafka import KafkaException

    from eventsource.cli.kafka_errors import explain

    if isinstance(error, KafkaException):
        error = explain(error)
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    text = redact_text(str(error))
    if isinstance(error, EventSourceError):
        note(f"error: {text}")
        return exit_code_of(error)
    hint = "" if debug else ": run it again with --debug to see where, and report it if the fault is not yours"
    note(f"error: unexpected {type(error).__name__}: {text}{hint}")
    return UNEXPECTED
