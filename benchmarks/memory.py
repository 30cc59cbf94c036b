"""What a worker takes: `python -m benchmarks.memory [--commands 2000000] [--aggregates 1000000] [--json]`.

The peak of the worker's resident memory over a backlog whose aggregates and command ids fit into no budget, against the budget it was
given. The last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import tempfile

from benchmarks.account import PARTITIONS, Account, bench
from benchmarks.backlog import write_backlog
from benchmarks.compiled import worker_code
from benchmarks.handled import HandledCommands
from benchmarks.output import Figures, finish, orderly_end, tell
from benchmarks.rates import handled_per_second
from benchmarks.resident import ResidentMemory
from benchmarks.servers import servers
from benchmarks.worker import worker
from eventsource.settings import WorkerSettings

_NAMESPACE = "memory"
_ALLOWANCE_MB = 300
"""What a worker may take beside the budget of its state: Python, libraries, and the batches on their way."""


def measure(*, commands: int, aggregates: int) -> Figures:
    """Lets one worker with the default budget handle a backlog."""
    budget_mb = getattr(WorkerSettings(), "state_memory_mb", None)
    with servers() as found, tempfile.TemporaryDirectory(prefix="worker-") as state:
        found.make_topics(_NAMESPACE)
        environment = found.environment(_NAMESPACE)
        write_backlog(environment, commands, aggregates)
        tell(f"wrote {commands:,} commands to {aggregates:,} aggregates")
        names, name = bench.names(_NAMESPACE), Account.__definition__.name
        handled = HandledCommands(found.bootstrap_servers, names.commands(name), PARTITIONS, names.owners(name))
        with worker(environment, state) as child, ResidentMemory(child.pid) as resident:
            looks = handled.watch(commands, child)
    return {
        "commands": commands,
        "aggregates": aggregates,
        "rss_peak_mb": resident.peak_mib,
        "budget_mb": budget_mb,
        "allowed_mb": None if budget_mb is None else budget_mb + _ALLOWANCE_MB,
        "commands_per_second": handled_per_second(looks),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the peak of a worker's resident memory.")
    parser.add_argument("--commands", type=int, default=2_000_000, help="in the backlog (default: 2,000,000)")
    parser.add_argument("--aggregates", type=int, default=1_000_000, help="in the backlog (default: 1,000,000)")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object on stdout")
    arguments = parser.parse_args()
    with orderly_end():
        figures = measure(commands=arguments.commands, aggregates=arguments.aggregates)
    finish({**figures, "worker": worker_code()[1]}, only_json=arguments.json)


if __name__ == "__main__":
    main()
