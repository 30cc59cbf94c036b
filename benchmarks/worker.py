"""A worker of the benchmarks' app as a child: `eventsource run` with the command side alone."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.account import bench
from benchmarks.children import Child, python_child
from benchmarks.compiled import worker_code
from eventsource.app import App
from eventsource.settings import PREFIX


def worker(
    environment: Mapping[str, str],
    state_dir: str,
    *,
    app: App = bench,
    log_level: str = "warning",
    interpreted: bool = False,
) -> Child:
    """One worker process, not started yet. It says `ready` when it has its partitions and handles them.

    It is compiled where this machine can, unless `interpreted`; `state_dir` is the folder of its local state stores.
    """
    return python_child(
        "the worker",
        "eventsource",
        [
            *("--log-level", log_level, "run", f"benchmarks.account:{app.name}", "--only", "commands"),
            *("--json", "--health-port", "0", "--until-stdin-closes"),
        ],
        {**environment, f"{PREFIX}WORKER__STATE_DIR": state_dir},
        None if interpreted else worker_code()[0],
    )
