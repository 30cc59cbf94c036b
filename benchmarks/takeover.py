"""How long a take-over takes: `python -m benchmarks.takeover [--events N ...] [--json]`.

An owner, and a process that stands by in the same group. Owners are ended by `kill -9` and by SIGTERM in turn; counted is
the time from the signal to the first answer of the one that stood by, seen by a client that sends a command every 20 ms. At last one
takes over that finds no local state, which gives the rate of replaying. Classic group protocol, session of 6 s, all events in one
partition. The last line of stdout is one JSON object; its figures are those of the largest size, the others are under further keys.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks.account import Account, solo
from benchmarks.backlog import write_backlog
from benchmarks.children import Child, ChildFailed
from benchmarks.handled import HandledCommands
from benchmarks.interruption import seconds_until_resumed
from benchmarks.output import Figures, finish, interruptible, tell
from benchmarks.probe import Probe
from benchmarks.servers import Servers, servers
from benchmarks.worker import worker

_AGGREGATES = 10_000
_START_SECONDS = 60.0
_DRAIN_SECONDS = 30.0
_TAKE_OVER_SECONDS = 300.0


class TakeOvers:
    """Owners of one partition, one after the other. Everything that it starts ends with the stack that it is given."""

    def __init__(self, found: Servers, namespace: str, stack: ExitStack) -> None:
        self._found = found
        self._namespace = namespace
        self._stack = stack
        self._state = self._folder()
        self._owner: Child | None = None

    def fill(self, events: int) -> None:
        """Lets a first owner handle so many commands."""
        environment = self._found.environment(self._namespace)
        settings = self._found.make_topics(self._namespace, solo)
        write_backlog(environment, events, min(_AGGREGATES, max(1, events // 10)), solo)
        self._owner = self._start(self._state)
        names = solo.names(self._namespace)
        name = Account.__definition__.name
        handled = HandledCommands(self._found.bootstrap_servers, names.commands(name), 1, names.owners(name))
        handled.watch(events, self._owner)
        self._probe = self._stack.enter_context(Probe(solo, settings, answer_seconds=_TAKE_OVER_SECONDS))

    def take_over(self, number: signal.Signals) -> float:
        """Ends the owner with a signal; returns the seconds until the next one answered. That one is the owner then."""
        return self._take_over(number, self._state)

    def replay(self) -> tuple[float, int, float]:
        """The same by SIGTERM, for an owner without local state: seconds, and what it says of its replay: events and seconds."""
        seconds = self._take_over(signal.SIGTERM, self._folder())
        assert self._owner is not None
        told = _last_event(self._owner, "partition_taken_over")
        return seconds, int(told["events"]), float(told["seconds"])

    def _take_over(self, number: signal.Signals, state: str) -> float:
        owner, successor = self._owner, self._start(state)
        assert owner is not None
        self._probe.wait_for_answers(time.monotonic(), owner.check, _START_SECONDS)
        signalled = time.monotonic()
        owner.send(number)
        owner.wait(_DRAIN_SECONDS)
        self._probe.wait_for_answers(time.monotonic(), successor.check, _TAKE_OVER_SECONDS)
        self._owner = successor
        return seconds_until_resumed(signalled, self._probe.answered_seconds())

    def _start(self, state: str) -> Child:
        environment = self._found.environment(self._namespace)
        child = self._stack.enter_context(worker(environment, state, app=solo, log_level="info"))
        child.wait_for("ready", _TAKE_OVER_SECONDS)
        return child

    def _folder(self) -> str:
        return self._stack.enter_context(tempfile.TemporaryDirectory(prefix="worker-"))


def _last_event(child: Child, event: str) -> Mapping[str, Any]:
    for line in reversed(child.log_lines()):
        if f'"{event}"' in line:
            found: dict[str, Any] = json.loads(line)
            return found
    raise ChildFailed(f"{child.name} logged no {event!r}: {child.last_words()}")


def measure_size(found: Servers, events: int, rounds: int) -> dict[str, float]:
    """All take-overs at one size."""
    killed, terminated = [], []
    with ExitStack() as stack:
        take_overs = TakeOvers(found, f"events-{events}", stack)
        take_overs.fill(events)
        for _ in range(rounds):
            killed.append(take_overs.take_over(signal.SIGKILL))
            tell(f"{events:,} events, kill -9: {killed[-1]:.2f} s")
            terminated.append(take_overs.take_over(signal.SIGTERM))
            tell(f"{events:,} events, SIGTERM: {terminated[-1]:.2f} s")
        seconds, replayed, replay_seconds = take_overs.replay()
        tell(
            f"{events:,} events, SIGTERM, nothing local: {seconds:.2f} s, {replayed:,} replayed in {replay_seconds:.2f} s"
        )
    return {
        "killed_seconds": statistics.median(killed),
        "killed_seconds_longest": max(killed),
        "terminated_seconds": statistics.median(terminated),
        "terminated_seconds_longest": max(terminated),
        "terminated_seconds_without_state": seconds,
        "replayed_per_second_without_state": replayed / replay_seconds,
    }


def measure(*, sizes: list[int], rounds: int) -> Figures:
    """Measures every size on servers of its own, the smallest first."""
    figures: dict[str, float] = {}
    for events in sorted(sizes):
        with servers() as found:
            of_size = measure_size(found, events, rounds)
        if events == max(sizes):
            figures = {"events": events, **of_size, **figures}
        else:
            figures |= {f"{name}_{events}": figure for name, figure in of_size.items()}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures how long nobody answers when an owner ends.")
    parser.add_argument("--events", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes of the partition")
    parser.add_argument("--rounds", type=int, default=3, help="take-overs of each kind (default: 3)")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object on stdout")
    arguments = parser.parse_args()
    with interruptible():
        figures = measure(sizes=arguments.events, rounds=arguments.rounds)
    finish(figures, only_json=arguments.json)


if __name__ == "__main__":
    main()
