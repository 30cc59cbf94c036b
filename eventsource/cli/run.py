"""`eventsource run`: a worker process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import structlog
import typer

from eventsource.cli.options import Reference, find_app
from eventsource.cli.output import print_json
from eventsource.cli.process_memory import collect_garbage_less_often, give_large_blocks_back
from eventsource.cli.stderr import COMMAND_LOGGER, JsonLines
from eventsource.settings import load_settings

_log = structlog.get_logger("eventsource.worker")


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("run")(run)


def run(
    reference: Reference = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="WHAT",
            help="commands, projections, or a name of an aggregate or consumer; repeatable. All unless given.",
        ),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option("--health-port", min=0, max=65_535, help="Port of /live and /ready; 0 takes a free one."),
    ] = None,
    accept_risk: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-risk",
            metavar="RULE",
            help="Start although this rule of `eventsource doctor` is broken; repeatable, and written to the log.",
        ),
    ] = None,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast",
            help="End the process when a part of it fails, instead of trying that part again while the others go on.",
        ),
    ] = False,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one line of JSON on stdout when all is ready, with the address of the health pages."
        ),
    ] = False,
    until_stdin_closes: Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)] = False,
) -> None:
    """Handle commands and run consumers, until Ctrl-C or SIGTERM; what was begun is finished first.

    Refuses to start where that endangers the log: `eventsource doctor` says more.
    """
    from eventsource.health import HealthServer
    from eventsource.worker import Worker

    app, settings = find_app(reference), load_settings()
    worker = Worker(app, settings, only=only or (), accepted_risks=accept_risk or (), fail_fast=fail_fast)
    port = settings.worker.health_port if health_port is None else health_port
    # A second worker on one machine needs no setting: only a port that somebody asked for must be that one.
    preferred = health_port is None and "health_port" not in settings.worker.model_fields_set
    collect_garbage_less_often()
    give_large_blocks_back()
    with (
        HealthServer(settings.worker.health_host, port, worker, preferred=preferred) as health,
        stopped_by_signals(worker.stop),
    ):
        _log.info("worker_starts", app=app.name, runners=sorted(worker.statuses()), health=health.url)
        if until_stdin_closes:
            when_stdin_closes(worker.stop)
        ready = {
            "event": "ready",
            "app": app.name,
            "runners": sorted(worker.statuses()),
            "health_url": health.url,
            "pid": os.getpid(),
        }
        worker.run(on_ready=lambda: print_json(ready, indent=None) if json else None)


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM calls `stop`, which must be safe in a signal handler; a second one ends the process at once."""
    received: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            _write("stopped at once: what was not committed is done again by the next owner")
            os._exit(128 + number)
        _write("stopping: finishing what was begun (again to stop at once)")
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(sentence: str) -> None:
    """As `note` does, without a lock that the interrupted code may hold. Where stderr is closed, nobody is there to read it."""
    if isinstance(sys.stderr, JsonLines):
        sentence = sys.stderr.line("info", COMMAND_LOGGER, sentence)
    with contextlib.suppress(OSError):
        os.write(2, f"{sentence}\n".encode())


def when_stdin_closes(stop: Callable[[], None]) -> None:
    """Calls `stop` when standard input ends: a parent process that dies takes its worker along."""

    def wait() -> None:
        try:
            while os.read(0, 1024):
                pass
        except OSError as error:
            _log.warning("stdin_unreadable", error=str(error))
        _log.info("stdin_closed")
        stop()

    threading.Thread(target=wait, name="stdin", daemon=True).start()
