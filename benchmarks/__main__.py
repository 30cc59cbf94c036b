"""`python -m benchmarks [NAME ...]`: runs the benchmarks, one after the other, and writes `benchmarks/RESULTS.md`.

Without names it runs all, which takes an hour. The figures of those that are not run stay in the page if they are of this machine.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.machine import machine
from benchmarks.output import Figures, finish, orderly_end, tell
from benchmarks.results import Results

RESULTS: Final = Path(__file__).with_name("RESULTS.md")
RUNS: Final[dict[str, list[list[str]]]] = {
    "codec": [[]],
    "pipeline": [[]],
    "commands": [[]],
    "latency": [["--rate", "500"], ["--rate", "2000"]],
    "takeover": [[]],
    "memory": [[]],
    "soak": [[]],
}
_STOP_SECONDS: Final = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures this machine and writes benchmarks/RESULTS.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(RUNS)} (default: all)")
    names = parser.parse_args().names or list(RUNS)
    unknown = [name for name in names if name not in RUNS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}: choose among {', '.join(RUNS)}")
    results = Results(RESULTS, machine())
    with orderly_end():
        for name in names:
            for arguments in RUNS[name]:
                title = f"`{' '.join(['python -m', f'benchmarks.{name}', *arguments])}`"
                tell(f"# {title}")
                figures = _run(name, arguments)
                finish(figures, only_json=False)
                results.put(title, figures, datetime.now(UTC).date())
    tell(f"written to {RESULTS}")


def _run(name: str, arguments: list[str]) -> Figures:
    # In a session of its own: Ctrl-C reaches this process alone, which then asks the benchmark to end in order.
    with subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if process.returncode:
        raise SystemExit(f"benchmarks.{name} failed with exit code {process.returncode}: see above")
    figures: Figures = json.loads(printed.splitlines()[-1])
    return figures


if __name__ == "__main__":
    main()
