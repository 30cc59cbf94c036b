"""A worker that brings a fault upon itself at a step: `python worker_program.py PLAN`, with the settings in the environment.

It writes every step of its owners to a file, and ends with the exit codes of `eventsource run`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Final

from eventsource.cli.exit_codes import exit_code_of
from eventsource.cli.logs import configure_logging
from eventsource.cli.run import stopped_by_signals, when_stdin_closes
from eventsource.errors import EventSourceError
from eventsource.log.steps import Step
from eventsource.settings import Settings, load_settings
from eventsource.worker import Worker
from tests.faults.ledger import ledger
from tests.faults.missing_guards import remove
from tests.faults.plan import READY, Act, Fault, Happened, Plan

_PR_SET_PDEATHSIG: Final = 1
_SIGNALS: Final = {Act.KILL: signal.SIGKILL, Act.STOP: signal.SIGSTOP, Act.TERM: signal.SIGTERM}


class Saboteur:
    """Listens to the steps, notes them, and acts when the plan says so."""

    def __init__(self, plan: Plan) -> None:
        self._faults = list(plan.faults)
        self._file = os.open(plan.steps, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()
        self._passed = 0
        self._counts: Counter[tuple[Step, int]] = Counter()

    def __call__(self, step: Step, partition: int) -> None:
        with self._lock:
            self._counts[step, partition] += 1
            fault = self._due(step, partition)
            self._note(step, partition, self._counts[step, partition], fault.act if fault is not None else "")
            if fault is not None and fault.act in _SIGNALS:
                os.kill(os.getpid(), _SIGNALS[fault.act])
        if fault is not None and fault.lasting_seconds:
            time.sleep(fault.lasting_seconds)
        if fault is not None and fault.act is Act.RAISE:
            raise ValueError(f"the plan's fault at {step}")

    def ready(self) -> None:
        """Notes that all partitions are being handled."""
        self._note(READY, -1, 0, "")

    def _due(self, step: Step, partition: int) -> Fault | None:
        if not self._faults:
            return None
        fault = self._faults[0]
        if fault.step is not step or fault.partition not in (None, partition):
            return None
        if fault.when and not Path(fault.when).exists():
            return None
        self._passed += 1
        if self._passed < fault.occurrence:
            return None
        self._passed = 0
        return self._faults.pop(0)

    def _note(self, step: str, partition: int, occurrence: int, act: str) -> None:
        happened = Happened(time.time(), os.getpid(), step, partition, occurrence, act)
        os.write(self._file, happened.to_line().encode())


def main(plan: Plan) -> None:
    """Works until it is told to end. Raises what the worker raises."""
    for guard in plan.without:
        remove(guard)
    settings, saboteur = load_settings(), Saboteur(plan)
    if plan.turn_seconds is None:
        worker = Worker(ledger, settings, fail_fast=True, on_step=saboteur)
        with stopped_by_signals(worker.stop):
            when_stdin_closes(worker.stop)
            worker.run(saboteur.ready)
    else:
        _come_and_go(settings, saboteur, plan.turn_seconds)


def _come_and_go(settings: Settings, saboteur: Saboteur, turn_seconds: float) -> None:
    """Joins, works for a while, leaves, and joins again."""
    ended = threading.Event()
    with stopped_by_signals(ended.set):
        when_stdin_closes(ended.set)
        while not ended.is_set():
            worker = Worker(ledger, settings, fail_fast=True, on_step=saboteur)

            def leave(worker: Worker = worker) -> None:
                ended.wait(turn_seconds)
                worker.stop()

            leaving = threading.Thread(target=leave)
            leaving.start()
            worker.run(saboteur.ready)
            leaving.join()
            ended.wait(turn_seconds)


def _die_with_parent() -> None:
    # A process that is stopped does not notice that its standard input closed.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    _die_with_parent()
    configure_logging(sys.stderr, level="debug", debug=True)
    try:
        main(Plan.from_json(sys.argv[1]))
    except EventSourceError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(exit_code_of(error))
