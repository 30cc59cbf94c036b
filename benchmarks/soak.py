"""Does a worker grow? `python -m benchmarks.soak [--minutes 20] [--rate 500] [--json]`.

A steady load, each command with an id of its own and all ids remembered. The memory for state is set so low that it is full before it
counts: what grows then is a leak. Printed is the slope of the worker's resident memory by least squares, after the first quarter of
the time, and in the last quarter: caches fill in the beginning, a leak goes on. The store's write buffers fill and empty every few minutes,
so a slope may be that of the moment: the highest in each quarter of the time says whether the memory grows. The last line of stdout is
one JSON object.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence

from benchmarks.children import ChildFailed, python_child
from benchmarks.compiled import worker_code
from benchmarks.output import Figures, finish, orderly_end, tell
from benchmarks.percentiles import percentiles
from benchmarks.resident import ResidentMemory, Sample, slope_per_hour
from benchmarks.servers import servers
from benchmarks.worker import worker
from eventsource.settings import WorkerSettings

_NAMESPACE = "soak"
_START_SECONDS = 60.0
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 30.0
_WARM_UP_SHARE = 0.25
_LAST_SHARE = 0.75
_STATE_MEMORY_MB = 16


def measure(*, minutes: float, rate: float) -> Figures:
    """Loads one worker for so long. Raises `ChildFailed` when a command stays unanswered."""
    seconds = minutes * 60
    more = (
        {"WORKER__STATE_MEMORY_MB": str(_STATE_MEMORY_MB)} if "state_memory_mb" in WorkerSettings.model_fields else {}
    )
    with servers() as found, tempfile.TemporaryDirectory(prefix="worker-") as state:
        found.make_topics(_NAMESPACE)
        load = ["--rate", str(rate), "--seconds", str(seconds), "--warm-up-seconds", "0"]
        with worker(found.environment(_NAMESPACE, **more), state) as child:
            child.wait_for("ready", _START_SECONDS)
            with (
                ResidentMemory(child.pid) as resident,
                python_child("the client", "benchmarks.latency_client", load, found.environment(_NAMESPACE)) as client,
            ):
                measured = None
                while measured is None:
                    child.check()
                    measured = client.heard("measured", _LOOK_SECONDS)
                    now_seconds, mib = resident.samples[-1]
                    tell(f"{now_seconds:,.0f} of {seconds:,.0f} s: {mib:,.1f} MiB")
                    if measured is None and now_seconds > seconds + _PATIENCE_SECONDS:
                        raise ChildFailed(f"the client did not end in time: {client.last_words()}")
    if measured["missing"]:
        raise ChildFailed(f"{measured['missing']} commands were not answered")
    counted = [sample for sample in resident.samples if _WARM_UP_SHARE * seconds <= sample[0] <= seconds]
    last = [sample for sample in counted if sample[0] >= _LAST_SHARE * seconds]
    latencies = percentiles(measured["milliseconds"])
    return {
        "minutes": minutes,
        "rate": rate,
        "rss_mb_per_hour": slope_per_hour(counted),
        "rss_mb_per_hour_at_last": slope_per_hour(last),
        "rss_begin_mb": counted[0][1],
        "rss_end_mb": counted[-1][1],
        "rss_peak_mb": resident.peak_mib,
        **_highest_by_quarter(resident.samples, seconds),
        "p50_ms": latencies["p50"],
        "p99_ms": latencies["p99"],
    }


def _highest_by_quarter(samples: Sequence[Sample], seconds: float) -> dict[str, float]:
    quarters = [[mib for at, mib in samples if number <= at / seconds * 4 < number + 1] for number in range(4)]
    return {f"rss_peak_quarter_{number}_mb": max(quarter) for number, quarter in enumerate(quarters, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures whether a worker grows under a steady load.")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (default: 20)")
    parser.add_argument("--rate", type=float, default=500.0, help="commands per second (default: 500)")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object on stdout")
    arguments = parser.parse_args()
    with orderly_end():
        figures = measure(minutes=arguments.minutes, rate=arguments.rate)
    finish({**figures, "worker": worker_code()[1]}, only_json=arguments.json)


if __name__ == "__main__":
    main()
