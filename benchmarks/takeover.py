"""How long a take-over takes: `python -m benchmarks.takeover [--events N ...] [--json]`.

An owner, and a process that stands by in the same group. Owners are ended by `kill -9` and by SIGTERM in turn, the framework's and
those of Kafka Streams; counted is the time from the signal to the first answer of the one that stood by, seen by a client that sends
a command every 20 ms. At last one takes over that finds no local state, which gives the rate of replaying. Classic group protocol,
session of 6 s, all events in one partition. The last line of stdout is one JSON object; its figures are those of the largest size, the
others are under further keys.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.account import Account, solo
from benchmarks.backlog import write_backlog
from benchmarks.children import Child, ChildFailed
from benchmarks.compiled import worker_code
from benchmarks.handled import HandledCommands
from benchmarks.interruption import seconds_until_resumed
from benchmarks.kafka_streams import KafkaStreams, NotMeasured
from benchmarks.output import Figures, finish, orderly_end, tell
from benchmarks.probe import Probe
from benchmarks.requesters import BareRequester, ClientRequester
from benchmarks.servers import Servers, servers
from benchmarks.worker import worker

_AGGREGATES = 10_000
_PROBED_ACCOUNTS = 100
_START_SECONDS = 60.0
_DRAIN_SECONDS = 30.0
_TAKE_OVER_SECONDS = 300.0
_LOGGED_WITHIN_SECONDS = 10.0


@dataclass(slots=True)
class Side:
    """Owners of one partition, one after the other, and a client that probes them."""

    name: str
    start: Callable[[], Child]
    """Starts a process that stands by; returns when it is ready to take over."""
    owner: Child
    probe: Probe
    killed: list[float] = field(default_factory=list)
    terminated: list[float] = field(default_factory=list)

    def measure(self, events: int) -> None:
        """One take-over of each kind."""
        self.killed.append(self.take_over(signal.SIGKILL, self.start()))
        self.terminated.append(self.take_over(signal.SIGTERM, self.start()))
        tell(f"{self.name}, {events:,} events: kill -9 {self.killed[-1]:.2f} s, SIGTERM {self.terminated[-1]:.2f} s")

    def take_over(self, number: signal.Signals, successor: Child) -> float:
        """Ends the owner with a signal; returns the seconds until the successor answered. That one is the owner then."""
        self.probe.wait_for_answers(time.monotonic(), self.owner.check, _START_SECONDS)
        signalled = time.monotonic()
        self.owner.send(number)
        self.owner.wait(_DRAIN_SECONDS)
        self.probe.wait_for_answers(time.monotonic(), successor.check, _TAKE_OVER_SECONDS)
        self.owner = successor
        return seconds_until_resumed(signalled, self.probe.answered_seconds())


class Scene:
    """A partition with a history on servers of its own, and the sides that own it. What is ours ends with `stack`."""

    def __init__(self, found: Servers, events: int, stack: ExitStack) -> None:
        self._found = found
        self._events = events
        self._stack = stack
        self._namespace = f"events-{events}"
        self._names = solo.names(self._namespace)
        self._commands = self._names.commands(Account.__definition__.name)
        self._settings = found.make_topics(self._namespace, solo)
        aggregates = max(_PROBED_ACCOUNTS, min(_AGGREGATES, events // 10))
        write_backlog(found.environment(self._namespace), events, aggregates, solo)

    def ours(self) -> Side:
        """Workers that share a folder of local state, as they do on one machine."""
        state = self._folder()
        owner = self.worker(state)
        self._wait_until_handled(owner, self._names.owners(Account.__definition__.name))
        client = self._settings.client.model_copy(update={"timeout_seconds": _TAKE_OVER_SECONDS})
        settings = self._settings.model_copy(update={"client": client})
        probe = Probe(lambda answered: ClientRequester(solo, settings, answered))
        return Side("worker", lambda: self.worker(state), owner, self._stack.enter_context(probe))

    def kafka_streams(self, streams: KafkaStreams, stack: ExitStack) -> Side:
        """Kafka Streams with a standby replica: its local state, too, is there before it is needed. It ends with `stack`."""

        def start() -> tuple[Child, str]:
            running = streams.running(self._found, self._namespace, app=solo, linger_ms=0, standby_replicas=1)
            child, group = stack.enter_context(running)
            child.wait_for("caught-up", _TAKE_OVER_SECONDS)
            return child, group

        owner, group = start()
        self._wait_until_handled(owner, group)
        topics = {"commands": self._commands, "replies": f"{group}.replies"}
        probe = Probe(
            lambda answered: BareRequester(
                self._settings, **topics, committed_only=True, answered=answered, partitions=1
            )
        )
        return Side("Kafka Streams", lambda: start()[0], owner, stack.enter_context(probe))

    def worker(self, state: str | None = None) -> Child:
        """A worker that stands by, with the local state in a folder, or with none."""
        environment = self._found.environment(self._namespace)
        folder = self._folder() if state is None else state
        child = self._stack.enter_context(worker(environment, folder, app=solo, log_level="info"))
        child.wait_for("ready", _TAKE_OVER_SECONDS)
        return child

    def _wait_until_handled(self, owner: Child, group: str) -> None:
        HandledCommands(self._found.bootstrap_servers, self._commands, 1, group).watch(self._events, owner)

    def _folder(self) -> str:
        return self._stack.enter_context(tempfile.TemporaryDirectory(prefix="worker-"))


def _last_event(child: Child, event: str) -> Mapping[str, Any]:
    """The last such event; take-overs are logged once no more of them are under way."""
    deadline = time.monotonic() + _LOGGED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        for line in reversed(child.log_lines()):
            if f'"{event}"' in line:
                found: dict[str, Any] = json.loads(line)
                return found
        time.sleep(0.1)
    raise ChildFailed(f"{child.name} logged no {event!r}: {child.last_words()}")


def measure_size(found: Servers, streams: KafkaStreams | None, events: int, rounds: int) -> dict[str, float | None]:
    """All take-overs at one size."""
    with ExitStack() as stack:
        scene = Scene(found, events, stack)
        ours = scene.ours()
        with ExitStack() as others:
            peers = [] if streams is None else [scene.kafka_streams(streams, others)]
            for _ in range(rounds):
                for side in [ours, *peers]:
                    side.measure(events)
        successor = scene.worker()
        seconds = ours.take_over(signal.SIGTERM, successor)
        told = _last_event(successor, "partitions_taken_over")
    tell(
        f"{events:,} events, nothing local: {seconds:.2f} s, {told['events']:,} replayed in {told['longest_seconds']:.2f} s"
    )
    return {
        "killed_seconds": statistics.median(ours.killed),
        "killed_seconds_longest": max(ours.killed),
        "terminated_seconds": statistics.median(ours.terminated),
        "terminated_seconds_longest": max(ours.terminated),
        "terminated_seconds_without_state": seconds,
        "replayed_per_second_without_state": told["events"] / told["longest_seconds"],
        "kafka_streams_killed_seconds": statistics.median(peers[0].killed) if peers else None,
        "kafka_streams_terminated_seconds": statistics.median(peers[0].terminated) if peers else None,
    }


def measure(*, sizes: list[int], rounds: int) -> Figures:
    """Measures every size on servers of its own, the smallest first. A peer that this machine cannot run has no figures."""
    figures: dict[str, float | str | None] = {}
    streams, note = None, {}
    try:
        streams = KafkaStreams.build()
    except NotMeasured as reason:
        note = {"kafka_streams": f"not measured: {reason}"}
        tell(f"Kafka Streams not measured: {reason}")
    for events in sorted(sizes):
        with servers() as found:
            of_size = measure_size(found, streams, events, rounds)
        if events == max(sizes):
            figures = {"events": events, **of_size, **figures}
        else:
            figures |= {f"{name}_{events}": figure for name, figure in of_size.items()}
    return figures | note


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures how long nobody answers when an owner ends.")
    parser.add_argument("--events", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes of the partition")
    parser.add_argument("--rounds", type=int, default=3, help="take-overs of each kind (default: 3)")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object on stdout")
    arguments = parser.parse_args()
    with orderly_end():
        figures = measure(sizes=arguments.events, rounds=arguments.rounds)
    finish({**figures, "worker": worker_code()[1]}, only_json=arguments.json)


if __name__ == "__main__":
    main()
