"""Latency at a steady rate: `python -m benchmarks.latency --rate 500 [--seconds 30] [--json]`.

Open loop, counted from the moment at which each command was due; client and worker in processes of their own. Measured in the same
run, in turns: the floor (request and reply over two topics and nothing else) and Kafka Streams at `commit.interval.ms=100`. Rounds
that warm the broker up come first and are not counted. The last line of stdout is one JSON object; all figures in milliseconds.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from confluent_kafka.admin import NewTopic

from benchmarks.account import PARTITIONS, Account, bench
from benchmarks.children import ChildFailed, python_child
from benchmarks.compiled import worker_code
from benchmarks.kafka_streams import KafkaStreams, NotMeasured
from benchmarks.output import Figures, finish, orderly_end, tell
from benchmarks.percentiles import percentiles
from benchmarks.servers import Servers, servers
from benchmarks.worker import worker
from eventsource.log.admin import LogAdmin
from eventsource.log.topics import REPLY_PARTITIONS

_COMMIT_INTERVAL_MS = 100
_START_SECONDS = 60.0
_PATIENCE_SECONDS = 60.0
_WARM_UP_RATE = 2_000.0
_WARM_UP_SECONDS = 5.0
_STILL_FALLS = 0.9
_STILL_ROUNDS = 3


@dataclass(slots=True)
class Contestant:
    """Something that answers commands, and what was measured of it."""

    name: str
    prefix: str
    environment: Mapping[str, str]
    client: Sequence[str]
    milliseconds: list[float] = field(default_factory=list)

    def measure(self, accounts: str, rate: float, seconds: float) -> float:
        """Sends commands for a while, and gives their median. Raises `ChildFailed` when one stays unanswered."""
        words = [*self.client, "--rate", str(rate), "--seconds", str(seconds), "--accounts", accounts]
        with python_child(f"the client of {self.name}", "benchmarks.latency_client", words, self.environment) as child:
            measured = child.wait_for("measured", seconds + _PATIENCE_SECONDS)
        if measured["missing"]:
            raise ChildFailed(f"{measured['missing']} commands to {self.name} were not answered")
        self.milliseconds += measured["milliseconds"]
        found = percentiles(measured["milliseconds"])
        tell(f"{self.name}: " + ", ".join(f"{name} {value:.2f} ms" for name, value in found.items()))
        return found["p50"]

    def figures(self) -> dict[str, float]:
        """The percentiles of all rounds together."""
        return {f"{self.prefix}{name}_ms": value for name, value in percentiles(self.milliseconds).items()}


@contextmanager
def floor(found: Servers) -> Iterator[Contestant]:
    """The echo server, running."""
    commands, replies = "floor.commands", "floor.replies"
    LogAdmin(found.settings("").kafka.client_config()).create_topics(
        [NewTopic(commands, PARTITIONS, 1), NewTopic(replies, REPLY_PARTITIONS, 1)]
    )
    topics = ["--commands", commands, "--replies", replies]
    environment = found.environment("floor")
    with python_child("the echo server", "benchmarks.echo", topics, environment) as child:
        child.wait_for("ready", _START_SECONDS)
        yield Contestant("the floor", "floor_", environment, topics)


@contextmanager
def ours(found: Servers) -> Iterator[Contestant]:
    """A worker, running."""
    namespace = "latency"
    found.make_topics(namespace)
    environment = found.environment(namespace)
    with tempfile.TemporaryDirectory(prefix="worker-") as state, worker(environment, state) as child:
        child.wait_for("ready", _START_SECONDS)
        yield Contestant("the worker", "", environment, [])


@contextmanager
def kafka_streams(found: Servers, streams: KafkaStreams) -> Iterator[Contestant]:
    """Kafka Streams, running."""
    namespace = "streams"
    found.make_topics(namespace)
    with streams.running(found, namespace, commit_interval_ms=_COMMIT_INTERVAL_MS, linger_ms=0) as (child, group):
        child.wait_for("ready", _START_SECONDS)
        commands = bench.names(namespace).commands(Account.__definition__.name)
        client = ["--commands", commands, "--replies", f"{group}.replies", "--committed-only"]
        yield Contestant("Kafka Streams", "kafka_streams_", found.environment(namespace), client)


def warm_up(contestants: Sequence[Contestant], rounds_at_most: int) -> None:
    """Lets all contestants work, in turns, until for three rounds nobody's median has fallen; none of it counts.

    A broker that was just started compiles its own code for its first minutes of load; one that serves for days does not. With that
    code answers come in a tenth of the time.
    """
    best = [math.inf] * len(contestants)
    still_rounds = 0
    for round_ in range(rounds_at_most):
        medians = [
            contestant.measure(f"warm-up{round_}-", _WARM_UP_RATE, _WARM_UP_SECONDS) for contestant in contestants
        ]
        falls = [found < before * _STILL_FALLS for found, before in zip(medians, best, strict=True)]
        best = [min(found, before) for found, before in zip(medians, best, strict=True)]
        still_rounds = 0 if any(falls) else still_rounds + 1
        if still_rounds == _STILL_ROUNDS:
            break
    else:
        tell(f"medians still fell after {rounds_at_most} rounds of warming up; measured all the same")
    for contestant in contestants:
        contestant.milliseconds.clear()


def measure(*, rate: float, seconds: float, rounds: int, warm_up_rounds: int) -> Figures:
    """Measures all contestants in turns, `rounds` times, once they are warm.

    A peer that this machine cannot run has no figures.
    """
    note: dict[str, str | None] = {}
    with ExitStack() as stack:
        try:
            streams = KafkaStreams.build()
        except NotMeasured as reason:
            tell(f"Kafka Streams not measured: {reason}")
            note = {"kafka_streams_p50_ms": None, "kafka_streams": f"not measured: {reason}"}
        found = stack.enter_context(servers())
        contestants = [stack.enter_context(floor(found)), stack.enter_context(ours(found))]
        if not note:
            contestants.append(stack.enter_context(kafka_streams(found, streams)))
        warm_up(contestants, warm_up_rounds)
        for round_ in range(rounds):
            # Another one begins each round, so that nobody is always measured after the same neighbour.
            turn = round_ % len(contestants)
            for contestant in contestants[turn:] + contestants[:turn]:
                contestant.measure(f"acc{round_}", rate, seconds / rounds)
    floor_found, ours_found, *peers = [contestant.figures() for contestant in contestants]
    floor_p50 = floor_found["floor_p50_ms"]
    figures: dict[str, float | str | None] = {"rate": rate, **ours_found, **floor_found}
    figures["p50_to_floor"] = ours_found["p50_ms"] / floor_p50
    figures["p99_to_floor"] = ours_found["p99_ms"] / floor_p50
    for peer in peers:
        figures |= peer
    return figures | note


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measures latency at a steady rate, beside the floor and Kafka Streams."
    )
    parser.add_argument("--rate", type=float, default=500.0, help="commands per second (default: 500)")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="of each contestant, all rounds together (default: 30)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant (default: 3)")
    parser.add_argument("--warm-up-rounds", type=int, default=16, help="at most, before any of it counts (default: 16)")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object on stdout")
    arguments = parser.parse_args()
    with orderly_end():
        figures = measure(
            rate=arguments.rate,
            seconds=arguments.seconds,
            rounds=arguments.rounds,
            warm_up_rounds=arguments.warm_up_rounds,
        )
    finish({**figures, "worker": worker_code()[1]}, only_json=arguments.json)


if __name__ == "__main__":
    main()
