"""A worker of the benchmarks' app as a child: `eventsource run` with the command side alone."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.children import Child, python_child
from eventsource.settings import WorkerSettings


def worker(environment: Mapping[str, str], *, log_level: str = "warning", state_dir: str | None = None) -> Child:
    """One worker process, not started yet. It says `ready` when it has its partitions and handles them.

    `state_dir` is the folder of its local state store, where the framework has one.
    """
    extra = {}
    if state_dir is not None and "state_dir" in WorkerSettings.model_fields:
        extra["EVENTSOURCE_WORKER__STATE_DIR"] = state_dir
    return python_child(
        "the worker",
        "eventsource",
        [
            *("--log-level", log_level, "run", "benchmarks.account:bench", "--only", "commands"),
            *("--json", "--health-port", "0", "--until-stdin-closes"),
        ],
        {**environment, **extra},
    )
