"""`python -m examples.bank.import_history FILE`: a bank's history through a real Kafka, and the proof that nothing got lost.

Every transaction becomes a command, every accepted command events, and every event rows of two read models. Then the read models are
thrown away, built again from the log, and compared: row by row with each other, and transaction by transaction with the file.

Exit codes: 0 all agrees; 1 something does not; 2 the file or a setting is wrong; 3 a server or the worker is not there; 4 topics or
read models are not as demanded; 130 and 143 interrupted.
"""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from types import FrameType

from confluent_kafka import KafkaException

from eventsource.cli.exit_codes import INTERRUPTED, OK, TERMINATED, UNEXPECTED, USAGE, exit_code_of
from eventsource.cli.kafka_errors import explain
from eventsource.cli.output import stdout_console
from eventsource.clock import Clock, SystemClock
from eventsource.commands.client import Client
from eventsource.consuming.definition import Readable
from eventsource.errors import EventSourceError, NotCaughtUp
from eventsource.log.token import Token
from eventsource.redaction import redact_text
from eventsource.settings import Settings
from examples.bank.app import bank
from examples.bank.history import HistoryError, HistoryRow, read_history
from examples.bank.importer import Importer, ImportResult, ImportStopped
from examples.bank.progress import ImportProgress
from examples.bank.read_models import Balances, Statement
from examples.bank.report import Report
from examples.bank.servers import Servers, prepare, servers
from examples.bank.verification import contradictions, copy_build, differences, figures
from examples.bank.worker_process import WorkerEnded, WorkerProcess
from projections import rebuild

_WORKER_START_SECONDS = 60.0
_LOOK_SECONDS = 1.0
# Nobody waits for a single command of a history: fuller batches cost the broker less.
_LINGER = {"linger.ms": "25"}
# Python looks for cycles after every 700 new objects, and thousands of commands in flight are not cycles: that took a fifth of the time.
_OBJECTS_BETWEEN_COLLECTIONS = 500_000


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled as Ctrl-C is: what runs is ended in order."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code. Errors are one sentence on stderr."""
    options = _parser().parse_args(arguments)
    previous = signal.signal(signal.SIGTERM, _terminate)
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        with ImportProgress(quiet=options.json) as progress:
            report, problems = Import(
                options.file, progress, own_worker=options.worker, patience_seconds=options.patience
            ).run()
    except KeyboardInterrupt as interrupt:
        return _fail(
            "interrupted: what was accepted stays accepted",
            TERMINATED if isinstance(interrupt, _Terminated) else INTERRUPTED,
        )
    except (HistoryError, ImportStopped) as error:
        return _fail(str(error), USAGE)
    except WorkerEnded as error:
        return _fail(str(error), error.exit_code)
    except EventSourceError as error:
        return _fail(str(error), exit_code_of(error))
    except KafkaException as error:
        return _fail(str(explain(error)), exit_code_of(explain(error)))
    finally:
        signal.signal(signal.SIGTERM, previous)
    if options.json:
        print(report.as_json(), flush=True)
    else:
        stdout_console().print(report.as_table(f"{options.file.name} in the bank"))
    return _fail(problems[0], UNEXPECTED) if problems else OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.bank.import_history",
        description="Sends a bank's transactions as commands, and proves that the read models hold every one of them. Uses the servers "
        "that EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS and EVENTSOURCE_POSTGRES__URL name, else starts its own for the time being.",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="transactions as .csv or .csv.gz (examples/bank/data/README.md)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON")
    parser.add_argument(
        "--no-worker",
        dest="worker",
        action="store_false",
        help="start no worker: others run examples.bank:bank on the servers",
    )
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="give up when nothing moved for so long (default: 60)",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 86400")
    return seconds


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def _fail(problem: str, code: int) -> int:
    print(f"error: {redact_text(problem)}", file=sys.stderr, flush=True)
    return code


class Import:
    """One import from file to figures."""

    def __init__(
        self,
        file: Path,
        progress: ImportProgress,
        *,
        own_worker: bool = True,
        patience_seconds: float = 60.0,
        clock: Clock | None = None,
    ) -> None:
        self._file = file
        self._progress = progress
        self._own_worker = own_worker
        self._patience_seconds = patience_seconds
        self._clock = clock if clock is not None else SystemClock()
        self._worker: WorkerProcess | None = None

    def run(self) -> tuple[Report, list[str]]:
        """Imports and verifies. Returns the figures, and what contradicts them as sentences: none when all agrees.

        Raises `HistoryError` before anything is started when the file's beginning is wrong, `ImportStopped` later,
        `WorkerEnded`, `NoAnswers`, and whatever keeps the servers from being used.
        """
        rows = _begun(read_history(self._file))
        with ExitStack() as stack:
            found = stack.enter_context(servers(self._progress.embedded))
            self._progress.step("Making the topics")
            prepare(bank, found.settings)
            if self._own_worker:
                self._progress.step("Starting a worker")
                self._worker = stack.enter_context(WorkerProcess(found.environment, clock=self._clock))
                self._worker.wait_until_ready(_WORKER_START_SECONDS)
            client = stack.enter_context(bank.connect(_for_bulk(found.settings)))
            return self._import(client, found, rows)

    def _import(self, client: Client, found: Servers, rows: Iterable[HistoryRow]) -> tuple[Report, list[str]]:
        began = self._clock.monotonic()
        importer = Importer(
            client,
            clock=self._clock,
            patience_seconds=self._patience_seconds,
            check=self._check,
            progress=lambda sent, answered: self._progress.step(
                "Importing", f": {sent:,} commands sent, {answered:,} answered"
            ),
        )
        result = importer.run(rows)
        self._progress.step("Waiting for the read models")
        self._catch_up(client, result)
        projected_seconds = self._clock.monotonic() - began
        before = copy_build(client)
        events, rebuild_seconds = self._rebuild(found)
        self._progress.step("Comparing")
        self._catch_up(client, result)
        after = copy_build(client)
        different = list(islice(differences(before, after), 1))
        found_figures = figures(after, {row.account_id for row in result.rows})
        problems = [
            *(f"{result.rejected:,} transactions were rejected, the first: {text}" for text in result.refusals[:1]),
            *(f"the rebuild is not identical: {text}" for text in different),
            *(f"the read models contradict the file: {text}" for text in islice(contradictions(after, result.rows), 1)),
        ]
        report = Report(
            transactions=found_figures.transactions,
            accounts=found_figures.accounts,
            accepted=result.accepted,
            rejected=result.rejected,
            accounts_without_drift=found_figures.accounts_without_drift,
            largest_drift=found_figures.largest_drift,
            rebuild_identical=not different,
            commands=result.commands,
            commands_per_second=_rate(result.commands, result.seconds),
            projected_per_second=_rate(result.commands, projected_seconds),
            rebuild_per_second=_rate(events, rebuild_seconds),
        )
        return report, problems

    def _catch_up(self, client: Client, result: ImportResult) -> None:
        for model in (Balances, Statement):
            for token in result.tokens.values():
                self._wait_for(client, token, model)

    def _wait_for(self, client: Client, token: Token, model: Readable) -> None:
        deadline = self._clock.monotonic() + self._patience_seconds
        while True:
            self._check()
            try:
                return client.wait_for(token, model, _LOOK_SECONDS)
            except NotCaughtUp:
                if self._clock.monotonic() > deadline:
                    raise

    def _rebuild(self, found: Servers) -> tuple[int, float]:
        reports = []
        for name in (Balances.consumer_name, Statement.consumer_name):
            text = f"Building the read model {name} again"
            self._progress.step(text)
            reports.append(rebuild(bank, name, found.settings, self._offsets(text)))
        return sum(report.events for report in reports), sum(report.seconds for report in reports)

    def _offsets(self, text: str) -> Callable[[int, int], None]:
        return lambda done, total: self._progress.step(text, f": {done:,} of {total:,} offsets")

    def _check(self) -> None:
        if self._worker is not None:
            self._worker.check()


def _begun(rows: Iterator[HistoryRow]) -> Iterator[HistoryRow]:
    """The same rows, of which the first was read already: what is wrong with the file as a whole is told before servers are started."""
    return chain([next(rows)], rows)


def _for_bulk(settings: Settings) -> Settings:
    kafka = settings.kafka
    return settings.model_copy(update={"kafka": kafka.model_copy(update={"client": {**_LINGER, **kafka.client}})})


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0


if __name__ == "__main__":
    sys.exit(main())
