"""Compiles what a command runs through, where a wheel is built with `EVENTSOURCE_COMPILE=1`; see docs/adr/0013.

The sources stay in the wheel: a module that was compiled is imported instead of its source, and does the same.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILE = "EVENTSOURCE_COMPILE"

# What runs for every command and every event that is replayed. Left out is what user code subclasses or calls back into: classes
# of messages and aggregates, and what codecs call, which is code generated at run time.
MODULES = {
    "eventsource/domain": ("copying", "dispatch", "purity"),
    "eventsource/schemas": ("codec", "single_object", "state_codec"),
    "eventsource/log": ("deliveries", "events", "header_reading", "headers", "record", "transactions"),
    "eventsource/commands": (
        *(
            "answer_ages",
            "checks",
            "content",
            "deduplication",
            "facts",
            "generations",
            "handled",
            "handling",
            "memory",
            "plausibility",
            "replaying",
            "replies",
            "reply",
        ),
        *("request", "state_store", "states", "store_health"),
    ),
}
# Written for the compiler: calls into librdkafka for many records at once, and what is read and written for each of them.
NATIVE_MODULES = (
    "eventsource/commands/native_answers",
    "eventsource/commands/native_packed_map",
    "eventsource/log/native_event_records",
    "eventsource/log/native_headers",
    "eventsource/log/native_consumer",
    "eventsource/log/native_producer",
    "eventsource/schemas/native_reading",
    "eventsource/schemas/native_writing",
)
_BUILD_REQUIREMENTS = ["mypy[mypyc]>=2.0", "pydantic>=2.11", "cython>=3.1"]


class CompileHook(BuildHookInterface[Any]):
    """Adds compiled modules to the wheel, which is then one for this Python and this platform."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return _BUILD_REQUIREMENTS if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not _wanted() or version == "editable":  # whoever edits the sources wants to see them run
            return
        self._folder = tempfile.mkdtemp(prefix="eventsource-compile-")
        try:
            modules = _compile(Path(self.root), Path(self._folder))
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        for module in modules:
            build_data["force_include"][str(module)] = str(module.relative_to(self._folder))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        del version, build_data, artifact_path
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder)


def _wanted() -> bool:
    return os.environ.get(COMPILE) == "1"


def _compile(root: Path, folder: Path) -> list[Path]:
    """Compiles into the folder; returns what it made. Whatever fails ends the build: a slow wheel must not pass for a fast one."""
    from Cython.Build import cythonize
    from mypyc.build import mypycify
    from setuptools import Distribution, Extension

    sources = [f"{package}/{name}.py" for package, names in MODULES.items() for name in names]
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(root):
        extensions = mypycify(
            ["--config-file=pyproject.toml", f"--cache-dir={scratch}/cache", *sources],
            opt_level="3",
            group_name="eventsource",
            target_dir=f"{scratch}/c",
        )
        natives = [
            Extension(
                module.replace("/", "."), [f"{module}.pyx"], include_dirs=[str(Path(module).parent)], libraries=["dl"]
            )
            for module in NATIVE_MODULES
        ]
        extensions += cythonize(natives, build_dir=f"{scratch}/cython", include_path=[str(root)], quiet=True)
        distribution = Distribution({"name": "eventsource-kafka", "ext_modules": extensions})
        command = distribution.get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(folder), f"{scratch}/objects"
        distribution.run_command("build_ext")
    return sorted(path for path in folder.rglob("*") if path.is_file())
