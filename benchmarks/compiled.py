"""The framework compiled, as a wheel built with `EVENTSOURCE_COMPILE=1` holds it: what the benchmarks' workers run.

`python -m benchmarks.compiled` builds it, where the sources changed since, and prints its folder: with that in front of the
`PYTHONPATH`, and with `PYTHONSAFEPATH=1`, anything else runs on it too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

from benchmarks.children import ROOT
from benchmarks.output import tell

_BUILD: Final = Path(__file__).with_name("build")
_PACKAGES: Final = ("eventsource", "projections", "sagas")
_COMPILED_SUFFIXES: Final = frozenset({".py", ".pyx", ".pxd", ".h"})
_BUILD_SECONDS: Final = 900
_INTERPRETED: Final = "BENCHMARKS_INTERPRETED"


class NotCompiled(RuntimeError):
    """Raised when this machine cannot compile. Says why."""


def compiled_folder() -> Path:
    """A folder with the packages, compiled from the sources as they are now. Raises `NotCompiled`."""
    folder = _BUILD / f"compiled-{_digest()}"
    if not folder.exists():
        tell("compiling the framework, a minute")
        for old in _BUILD.glob("compiled-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(prefix="wheel-") as scratch:
            _build_wheel(Path(scratch))
            (wheel,) = Path(scratch).glob("*.whl")
            unpacked = Path(scratch) / "unpacked"
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked)
            _BUILD.mkdir(exist_ok=True)
            shutil.move(unpacked, folder)
    return folder


@cache
def worker_code() -> tuple[Path | None, str]:
    """Where a worker's packages are, None for this checkout, and what that is called among the figures."""
    if os.environ.get(_INTERPRETED):
        return None, "interpreted"
    try:
        return compiled_folder(), "compiled"
    except NotCompiled as reason:
        tell(f"the worker is interpreted: {reason}")
        return None, f"interpreted: {reason}"


def _digest() -> str:
    digest = hashlib.sha256(sys.version.encode())
    sources = [
        path for package in _PACKAGES for path in (ROOT / package).rglob("*") if path.suffix in _COMPILED_SUFFIXES
    ]
    for path in (ROOT / "pyproject.toml", ROOT / "hatch_build.py", *sorted(sources)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _build_wheel(folder: Path) -> None:
    if not any(shutil.which(compiler) for compiler in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang"))):
        raise NotCompiled("there is no C compiler on the PATH")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        env={**os.environ, "EVENTSOURCE_COMPILE": "1"},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if built.returncode:
        raise NotCompiled(f"the wheel was not built: {(built.stdout + built.stderr).strip()[-500:]}")


if __name__ == "__main__":
    print(compiled_folder())
