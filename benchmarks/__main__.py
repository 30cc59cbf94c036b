"""`python -m benchmarks`: runs all benchmarks, one after the other, and writes `benchmarks/RESULTS.md`."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
BENCHMARKS = ("codec", "pipeline")


def main() -> None:
    sections = [
        "# Results\n",
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by `make bench`, {machine()}. The brokers, the database, the workers and the "
        "client share these cores. Compare figures of one run with each other, not with those of another machine.\n",
    ]
    for name in BENCHMARKS:
        print(f"# {name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--json"], check=True, stdout=subprocess.PIPE, text=True
        )
        *lines, last = done.stdout.splitlines()
        print("\n".join(lines), flush=True)
        figures = json.loads(last)
        rows = "\n".join(f"| {figure.replace('_', ' ')} | {value:,.6g} |" for figure, value in figures.items())
        sections.append(f"## `python -m benchmarks.{name}`\n\n| figure | value |\n|---|---|\n{rows}\n")
    RESULTS.write_text("\n".join(sections), encoding="utf-8")
    print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")


def machine() -> str:
    """The machine in a few words: cores, processor, Python."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return f"{os.cpu_count()} cores of {processor}, {platform.system()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
