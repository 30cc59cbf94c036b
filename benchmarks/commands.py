"""Throughput of the command side on a backlog: `python -m benchmarks.commands [--json] [--commands N] [--pairs N]`.

One worker process against one stream thread of Kafka Streams, in turns on the same backlog, each time with a consumer group of its
own; then a backlog to one hot aggregate, and the library `eventsourcing` on Postgres. Worker and Kafka Streams are watched from
outside in the same way. The worker is compiled where this machine can; interpreted, it is measured too. The last line of stdout is
one JSON object.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.account import PARTITIONS, RUN_MARK, Account, bench
from benchmarks.backlog import write_backlog
from benchmarks.compiled import worker_code
from benchmarks.handled import HandledCommands
from benchmarks.kafka_streams import KafkaStreams, NotMeasured
from benchmarks.output import Figures, finish, orderly_end, tell
from benchmarks.pyeventsourcing import commands_per_second, is_installed
from benchmarks.rates import Look, cpu_microseconds_per_command, handled_per_second, median, median_of_ratios
from benchmarks.servers import Servers, servers
from benchmarks.worker import worker

_BACKLOG = "backlog"
_HOT = "hot"
_PYEVENTSOURCING_COMMANDS = 1_000


class Run(NamedTuple):
    """One side on one backlog."""

    per_second: float
    cpu_microseconds: float


@dataclass(slots=True)
class Runs:
    """The runs of each side: the same index is the same round."""

    ours: list[Run] = field(default_factory=list)
    kafka_streams: list[Run] = field(default_factory=list)
    hot: list[Run] = field(default_factory=list)
    interpreted: list[Run] = field(default_factory=list)
    pyeventsourcing: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float | str | None]:
        """The medians: of rates, and of the ratios within each round."""
        ours, streams, hot = ([run.per_second for run in runs] for runs in (self.ours, self.kafka_streams, self.hot))
        return {
            "pairs": len(ours),
            "commands_per_second": median(ours),
            "kafka_streams_per_second": median(streams),
            "ratio": median_of_ratios(list(zip(ours, streams, strict=True))) if streams else None,
            "hot_commands_per_second": median(hot),
            "hot_share": median_of_ratios(list(zip(hot, ours, strict=True))),
            "interpreted_commands_per_second": median([run.per_second for run in self.interpreted]),
            "pyeventsourcing_per_second": median(self.pyeventsourcing),
            "cpu_us_per_command": median([run.cpu_microseconds for run in self.ours]),
            "kafka_streams_cpu_us_per_command": median([run.cpu_microseconds for run in self.kafka_streams]),
        }


class Throughput:
    """The backlogs, and single runs on them."""

    def __init__(self, servers: Servers, streams: KafkaStreams | None) -> None:
        self._servers = servers
        self._streams = streams
        self._sizes: dict[str, int] = {}
        self._runs = 0

    def prepare(self, namespace: str, commands: int, aggregates: int) -> None:
        """Writes a backlog."""
        self._servers.make_topics(namespace)
        seconds = write_backlog(self._servers.environment(namespace), commands, aggregates)
        self._sizes[namespace] = commands
        tell(f"wrote {commands:,} commands to {aggregates:,} aggregates, {commands / seconds:,.0f}/s")

    def ours(self, namespace: str, *, interpreted: bool = False) -> Run:
        """One worker that begins at the beginning of a backlog."""
        run = self._new_run(namespace)
        self._servers.make_topics(run)
        group = bench.names(run).owners(Account.__definition__.name)
        with (
            tempfile.TemporaryDirectory(prefix="worker-") as state,
            worker(self._servers.environment(run), state, interpreted=interpreted) as child,
        ):
            looks = self._handled(namespace, group).watch(self._sizes[namespace], child)
        return self._told("interpreted worker" if interpreted else "worker", namespace, looks)

    def kafka_streams(self, namespace: str) -> list[Run]:
        """The same of Kafka Streams: one run, or none where this machine cannot run it."""
        if self._streams is None:
            return []
        with self._streams.running(self._servers, self._new_run(namespace)) as (child, group):
            looks = self._handled(namespace, group).watch(self._sizes[namespace], child)
        return [self._told("Kafka Streams", namespace, looks)]

    def pyeventsourcing(self) -> float:
        """Commands per second of pyeventsourcing, over fewer commands: it takes its time."""
        rate = commands_per_second(self._servers, _PYEVENTSOURCING_COMMANDS)
        tell(f"pyeventsourcing: {rate:,.0f} commands/s")
        return rate

    def _new_run(self, namespace: str) -> str:
        self._runs += 1
        return f"{namespace}{RUN_MARK}{self._runs}"

    def _handled(self, namespace: str, group: str) -> HandledCommands:
        topic = bench.names(namespace).commands(Account.__definition__.name)
        return HandledCommands(self._servers.bootstrap_servers, topic, PARTITIONS, group)

    def _told(self, who: str, namespace: str, looks: Sequence[Look]) -> Run:
        run = Run(handled_per_second(looks), cpu_microseconds_per_command(looks))
        tell(f"{who}, {namespace}: {run.per_second:,.0f} commands/s, {run.cpu_microseconds:.1f} µs of CPU each")
        return run


def measure(*, commands: int, hot_commands: int, aggregates: int, pairs: int) -> Figures:
    """Runs everything on servers of its own. A peer that this machine cannot run has no figure, and a text that says why."""
    folder, code = worker_code()
    runs, notes = Runs(), {"worker": code}
    streams: KafkaStreams | None = None
    try:
        streams = KafkaStreams.build()
    except NotMeasured as reason:
        notes["kafka_streams"] = f"not measured: {reason}"
    if not is_installed():
        notes["pyeventsourcing"] = "not measured: it is not installed (pip install 'eventsourcing[postgres]')"
    for name, note in notes.items():
        tell(f"{name}: {note}")
    with servers() as found:
        throughput = Throughput(found, streams)
        throughput.prepare(_BACKLOG, commands, aggregates)
        throughput.prepare(_HOT, hot_commands, 1)
        # A broker that was just started compiles its own code meanwhile, so these runs count for nobody.
        throughput.kafka_streams(_BACKLOG)
        throughput.ours(_BACKLOG)
        for pair in range(pairs):
            # Each is first in every other pair, so that neither always meets the broker warmer.
            if pair % 2:
                runs.kafka_streams += throughput.kafka_streams(_BACKLOG)
            runs.ours.append(throughput.ours(_BACKLOG))
            if not pair % 2:
                runs.kafka_streams += throughput.kafka_streams(_BACKLOG)
            runs.hot.append(throughput.ours(_HOT))
            if folder is not None:
                runs.interpreted.append(throughput.ours(_BACKLOG, interpreted=True))
            if "pyeventsourcing" not in notes:
                runs.pyeventsourcing.append(throughput.pyeventsourcing())
    return runs.figures() | notes


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measures commands per second on a backlog, beside Kafka Streams and pyeventsourcing."
    )
    parser.add_argument("--commands", type=int, default=500_000, help="in the backlog (default: 500,000)")
    parser.add_argument("--hot-commands", type=int, default=100_000, help="to one aggregate (default: 100,000)")
    parser.add_argument("--aggregates", type=int, default=10_000, help="in the backlog (default: 10,000)")
    parser.add_argument("--pairs", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object on stdout")
    arguments = parser.parse_args()
    with orderly_end():
        figures = measure(
            commands=arguments.commands,
            hot_commands=arguments.hot_commands,
            aggregates=arguments.aggregates,
            pairs=arguments.pairs,
        )
    finish(figures, only_json=arguments.json)


if __name__ == "__main__":
    main()
