"""What every fault test stands on: a namespace with topics, workers in processes, clients at work, and the checker in the end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from eventsource.commands.client import Client
from eventsource.errors import BrokerUnavailable
from eventsource.log.partitioner import partition_for
from eventsource.log.steps import Step
from eventsource.log.topics import apply
from eventsource.settings import Settings
from tests.faults.checker import Checker, Violation
from tests.faults.evidence import EvidenceReader
from tests.faults.history import History, read_history
from tests.faults.ledger import PARTITIONS, Account, ledger
from tests.faults.plan import READY, Fault, Happened, Plan, read_steps
from tests.faults.workload import Workload

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = Path(__file__).with_name("worker_program.py")
SECTIONS: Final = ("kafka", "worker", "client")
PATIENCE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.02
_ACCOUNTS: Final = 6
_LOG_CHARACTERS: Final = 3_000
T = TypeVar("T")


class WorkerProcess:
    """A worker of the ledger as a child process; its steps and its log are files that outlive it."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], steps: Path, log: Path
    ) -> None:
        self.name = name
        self._steps = steps
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def steps(self, *steps: str, partition: int | None = None) -> list[Happened]:
        """What its owners did; with `steps`, only those."""
        return [
            happened
            for happened in read_steps(self._steps)
            if (not steps or happened.step in steps) and partition in (None, happened.partition)
        ]

    def is_ready(self) -> bool:
        """Whether it has had all its partitions once."""
        return bool(self.steps(READY))

    def acted(self) -> list[Happened]:
        """The steps at which it brought a fault upon itself."""
        return [happened for happened in self.steps() if happened.act]

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def wait(self, timeout_seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code, once it has ended."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout_seconds:g} s\n{self.log()}") from None

    def end(self) -> int:
        """Tells it to drain, and waits until it has."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Ends it at once, whatever it is doing. Does nothing when it has ended."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def told(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log that tell of this event."""
        lines = (
            json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines() if line.startswith("{")
        )
        return [line for line in lines if line["event"] == event]

    def log(self) -> str:
        """The end of what it said."""
        return f"--- {self.name} ---\n{self._log.read_text(encoding='utf-8', errors='replace')[-_LOG_CHARACTERS:]}"


class Rig:
    """A context manager: whatever becomes of the test, no process of it is left."""

    def __init__(self, settings: Settings, folder: Path, seed: int) -> None:
        self.settings = settings
        self.folder = folder
        self.seed = seed
        self.rng = random.Random(seed)
        self.workers: list[WorkerProcess] = []
        # Whoever takes over finds the state store of its predecessor, as on one machine, or none, as on another.
        self._one_machine = self.rng.random() < 0.5
        self.history = History(folder / "history.jsonl")
        self.evidence = EvidenceReader(ledger, Account, settings)
        apply(ledger, settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.kill()
        self.history.close()

    # --- starting ----------------------------------------------------------------------------------------------------

    def start(
        self,
        *faults: Fault,
        without: Sequence[str] = (),
        turn_seconds: float | None = None,
        own_store: bool = False,
        settings: Settings | None = None,
    ) -> WorkerProcess:
        """Starts a worker that brings these faults upon itself; with `own_store`, as on another machine."""
        number = len(self.workers) + 1
        steps = self.folder / f"worker-{number}.steps.jsonl"
        plan = Plan(str(steps), faults, without, turn_seconds)
        command = [sys.executable, str(PROGRAM), plan.to_json()]
        return self._start(command, steps, settings or self.settings, own_store=own_store)

    def run(self, *words: str) -> WorkerProcess:
        """Starts the command `eventsource`."""
        steps = self.folder / "no.steps.jsonl"
        return self._start([sys.executable, "-m", "eventsource", *words], steps, self.settings)

    def _start(
        self, command: Sequence[str], steps: Path, settings: Settings, *, own_store: bool = False
    ) -> WorkerProcess:
        name = f"worker-{len(self.workers) + 1}"
        state_dir = self.folder / ("state" if self._one_machine and not own_store else f"{name}.state")
        path = os.pathsep.join(
            filter(None, (os.environ.get("PYTHONPATH"), str(ROOT)))
        )  # what is compiled may stand there
        own = {"EVENTSOURCE_WORKER__STATE_DIR": str(state_dir), "PYTHONPATH": path}
        environment = {**os.environ, **variables(settings), **own}
        worker = WorkerProcess(name, command, environment, steps, self.folder / f"{name}.log")
        self.workers.append(worker)
        return worker

    def start_ready(self, *faults: Fault, without: Sequence[str] = ()) -> WorkerProcess:
        """Starts a worker and waits until it handles all its partitions."""
        worker = self.start(*faults, without=without)
        self.until(worker.is_ready, f"{worker.name} to be ready")
        return worker

    def connect(self) -> Client:
        """A client. The caller closes it."""
        return ledger.connect(self.settings)

    def workload(self, *, partition: int | None = None) -> Workload:
        """Clients at work on a few accounts, of one partition or all. A context manager."""
        ids = (f"a{number}" for number in count())
        here = (id_ for id_ in ids if partition in (None, partition_for(id_.encode(), PARTITIONS)))
        return Workload(self.connect, self.history, self.rng.randrange(10**9), accounts=list(islice(here, _ACCOUNTS)))

    # --- waiting and checking ----------------------------------------------------------------------------------------

    def until(self, check: Callable[[], T], what: str, timeout_seconds: float = PATIENCE_SECONDS) -> T:
        """The first truthy result of `check`. A failure tells what the workers said last."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            found = check()
            if found:
                return found
            if time.monotonic() > deadline:
                said = "\n".join(worker.log() for worker in self.workers)
                raise AssertionError(f"waited {timeout_seconds:g} s in vain for {what}\n{said}")
            time.sleep(_LOOK_SECONDS)

    def until_acted(self, worker: WorkerProcess, number: int = 1) -> Happened:
        """Waits until a worker has brought so many faults upon itself, and returns the last of them."""
        return self.until(lambda: worker.acted()[number - 1 : number], f"fault {number} of {worker.name}")[0]

    def until_step(
        self, worker: WorkerProcess, step: Step, *, after: float = 0.0, partition: int | None = None
    ) -> Happened:
        """Waits until a worker goes through a step, later than this moment."""

        def later() -> list[Happened]:
            return [happened for happened in worker.steps(step, partition=partition) if happened.at > after]

        return self.until(later, f"{worker.name} to go through {step} of partition {partition}")[0]

    def until_answered(self, workload: Workload, partition: int | None = None, number: int = 5) -> None:
        """Waits for so many more OK answers, from one partition or all."""
        wanted = workload.answered(partition) + number

        def answered() -> bool:
            workload.check()
            return workload.answered(partition) >= wanted

        self.until(
            answered, f"{number} answers from {'any partition' if partition is None else f'partition {partition}'}"
        )

    def is_at_rest(self) -> bool:
        """Whether all commands are handled and no transaction is open."""
        with contextlib.suppress(BrokerUnavailable):
            committed = self.evidence.committed()
            handled = all((committed[partition] or 0) >= end for partition, end in self.evidence.ends().items())
            return handled and not self.evidence.open_transactions()
        return False

    def violations(self) -> list[Violation]:
        """What the checker finds in the topics and the history as they are now."""
        return Checker(Account, self.evidence.read(), read_history(self.history.path)).violations()

    def check(self, *, rest_seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until all has come to rest, and fails if anything is broken then."""
        self.until(self.is_at_rest, "all commands to be handled and all transactions to end", rest_seconds)
        found = self.violations()
        if found:
            told = "\n".join(str(violation) for violation in found[:20])
            said = "\n".join(worker.log() for worker in self.workers)
            raise AssertionError(f"{len(found)} violations (seed {self.seed}, files in {self.folder}):\n{told}\n{said}")


def variables(settings: Settings) -> dict[str, str]:
    """The environment variables that make these settings."""
    found = {"EVENTSOURCE_NAMESPACE": settings.namespace}
    for section in SECTIONS:
        for name, value in getattr(settings, section).model_dump(exclude_unset=True, exclude={"client"}).items():
            found[f"EVENTSOURCE_{section}__{name}".upper()] = str(value)
    for name, value in settings.kafka.client.items():
        found[f"EVENTSOURCE_KAFKA__CLIENT__{name.replace('.', '_')}".upper()] = value
    return found


def steps_of_a_batch() -> list[Step]:
    """The steps that every batch goes through, in order."""
    return [
        Step.READ,
        Step.BEGUN,
        Step.PRODUCED,
        Step.FLUSHED,
        Step.OFFSETS_SENT,
        Step.COMMITTED,
        Step.APPLIED,
        Step.REPLIED,
    ]


def steps_of_a_take_over() -> list[Step]:
    """The steps of taking a partition over, in order."""
    return [Step.ASSIGNED, Step.FENCED, Step.LOCATED, Step.REPLAYED]
