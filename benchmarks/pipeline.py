"""The whole pipeline on real data: `python -m benchmarks.pipeline [--runs N] [--json]`.

Runs the bank's import, each time on fresh ephemeral servers, and gives the median of each rate. The last line of stdout is one
JSON object with `--json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "examples" / "bank" / "data" / "transactions.csv.gz"
RATES = ("commands_per_second", "projected_per_second", "rebuild_per_second")


def run_once() -> dict[str, Any]:
    """The figures of one import. Raises `CalledProcessError` when it failed or its figures did not agree."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.bank.import_history", str(DATA), "--json"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(runs: int) -> dict[str, float]:
    """The median of each rate, with its lowest and highest."""
    found = [run_once() for _ in range(runs)]
    figures: dict[str, float] = {"runs": runs}
    for rate in RATES:
        values = [figures_of_run[rate] for figures_of_run in found]
        figures[rate] = statistics.median(values)
        figures[f"{rate}_lowest"] = min(values)
        figures[f"{rate}_highest"] = max(values)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the bank's import, in messages per second.")
    parser.add_argument("--runs", type=int, default=3, help="how many imports, each on fresh servers")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    figures = measure(arguments.runs)
    for name, figure in figures.items():
        print(f"{name:32} {figure:10,.0f}")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
