"""`eventsource dev`: a real Kafka and a real Postgres on this machine, and optionally an app's workers on them."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eventsource.cli.completion import complete_app
from eventsource.cli.dev_progress import DevProgress
from eventsource.cli.dev_session import DevSession
from eventsource.cli.exit_codes import INTERRUPTED, TERMINATED
from eventsource.cli.loading import named_app
from eventsource.cli.options import Json
from eventsource.cli.output import note, print_json
from eventsource.dev_servers import DEV_FILE, told_to_others
from eventsource.testing.stack import stack_environment

if TYPE_CHECKING:
    from eventsource.embedded import EmbeddedStack


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled as Ctrl-C is: what runs is interrupted and cleaned up after."""


def register(app: typer.Typer) -> None:
    """Adds the command to the root CLI."""
    app.command("dev")(dev)


def dev(
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:APP]",
            help="Also run this app's workers; else that of EVENTSOURCE_APP, or of [tool.eventsource] app in pyproject.toml.",
            show_default=False,
            autocompletion=complete_app,
        ),
    ] = None,
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where the servers keep their data.")] = Path(
        ".eventsource"
    ),
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Use a temporary folder, deleted at the end, instead of --data-dir.")
    ] = False,
    brokers: Annotated[int, typer.Option("--brokers", metavar="1|3", help="How many Kafka brokers.")] = 1,
    kafka_port: Annotated[
        int, typer.Option("--kafka-port", min=0, max=65535, help="0, or a taken one: any free port.")
    ] = 9092,
    postgres_port: Annotated[
        int, typer.Option("--postgres-port", min=0, max=65535, help="0, or a taken one: any free port.")
    ] = 5432,
    logs: Annotated[bool, typer.Option("--logs", help="Follow the logs of Kafka and Postgres, on stderr.")] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart the workers when a Python file below this folder changes.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Before the workers start, rebuild each read model whose revision or table is not its class's.",
        ),
    ] = False,
    workers: Annotated[
        bool, typer.Option("--workers/--no-workers", help="Run the app's workers, or the servers alone.")
    ] = True,
    json: Json = False,
    maven_repository: Annotated[
        str | None,
        typer.Option(
            "--maven-repository", metavar="URL", help="Download Kafka from this mirror instead of Maven Central."
        ),
    ] = None,
) -> None:
    """Start a real Kafka and a real Postgres, without Docker or Java, until Ctrl-C.

    The first start downloads Kafka (45 MB), once for all projects. When the workers end by themselves, the servers go on.
    """
    named = named_app(reference, os.environ, Path.cwd()) if workers else None
    for option, given in (("--reload", reload), ("--rebuild", rebuild)):
        if given and named is None:
            raise typer.BadParameter("there are no workers to start: name the app as MODULE:APP", param_hint=option)
    if brokers not in {1, 3}:
        raise typer.BadParameter(f"{brokers} is not a choice: use 1 or 3", param_hint="--brokers")

    from eventsource.embedded import EmbeddedStack, JarCache

    ready = False
    try:
        with _sigterm_interrupts(), DevProgress() as progress:
            jars = JarCache(repository_url=maven_repository)
            if ephemeral:
                stack = EmbeddedStack.ephemeral(
                    brokers=brokers, kafka_port=kafka_port, postgres_port=postgres_port, progress=progress, jars=jars
                )
            else:
                stack = EmbeddedStack(
                    data_dir,
                    brokers=brokers,
                    kafka_port=kafka_port,
                    postgres_port=postgres_port,
                    progress=progress,
                    jars=jars,
                )
            with stack:
                progress.close()
                ready = True
                environment = stack_environment(stack.bootstrap_servers, stack.postgres_url, stack.stores_dir)
                with told_to_others(stack.data_dir / DEV_FILE.name, environment):
                    _announce(stack, json=json, kafka_port=kafka_port, postgres_port=postgres_port)
                    session = DevSession(
                        stack,
                        None if named is None else named[0],
                        reload=reload,
                        rebuild=rebuild,
                        logs=logs,
                        stdout_is_data=json,
                        root=Path.cwd(),
                    )
                    with contextlib.suppress(KeyboardInterrupt):
                        session.run()
                note("stopping")
    except KeyboardInterrupt as interrupt:
        note(
            "interrupted: what still runs is ended in the background"
            if ready
            else "stopped before the servers were ready"
        )
        raise typer.Exit(TERMINATED if isinstance(interrupt, _Terminated) else INTERRUPTED) from interrupt


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """For its duration SIGTERM (and the closing of the terminal) interrupts as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        del frame
        raise _Terminated(signal.Signals(number).name)

    # Under nohup SIGHUP is ignored, and stays so.
    wanted = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, interrupt) for number in wanted}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _announce(stack: EmbeddedStack, *, json: bool, kafka_port: int, postgres_port: int) -> None:
    environment = stack_environment(stack.bootstrap_servers, stack.postgres_url, stack.stores_dir)
    if stack.ended_orphans:
        names = ", ".join(f"{orphan.name} (process {orphan.pid})" for orphan in stack.ended_orphans)
        note(f"ended what an earlier run left behind: {names}")
    if json:
        document = {
            "bootstrap_servers": stack.bootstrap_servers,
            "postgres_url": stack.postgres_url,
            "data_dir": str(stack.data_dir),
            "kafka_logs": [str(path) for path in stack.kafka_logs],
            "postgres_log": str(stack.postgres_log),
            "environment": environment,
        }
        print_json(document, indent=None)
        return
    for name, asked, got in (
        ("Kafka", kafka_port, stack.bootstrap_servers.partition(",")[0].rpartition(":")[2]),
        ("Postgres", postgres_port, stack.postgres_url.rpartition(":")[2].partition("/")[0]),
    ):
        if asked and str(asked) != got:
            note(f"port {asked} is taken: {name} listens on {got} instead")
    first_broker = stack.bootstrap_servers.partition(",")[0]
    lines = [
        "",
        f"Kafka      {stack.bootstrap_servers}",
        f"Postgres   {stack.postgres_url}",
        f"Data       {stack.data_dir}",
        f"Logs       {stack.data_dir / 'logs'}",
        "",
        "Apps and commands that run in this folder find them by themselves. For others, or as lines of a .env file:"
        if stack.data_dir == DEV_FILE.parent.absolute()
        else "For your app and for other commands, in another terminal or as lines of a .env file:",
        *(f"  export {name}={shlex.quote(value)}" for name, value in environment.items()),
        "To look inside:",
        f"  {stack.psql_command()}",
        f"  kcat -b {first_broker} -L",
        "",
        "Ctrl-C stops both.",
    ]
    print("\n".join(lines), file=sys.stdout, flush=True)
