"""The machine in one line: what figures depend on, and nothing that identifies it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

import psutil

from eventsource.embedded import KAFKA_VERSION

_CPU_INFO: Final = Path("/proc/cpuinfo")
_GIB: Final = 1024**3


def machine() -> str:
    """Processor, cores, memory, system, Python and Kafka."""
    memory_gib = psutil.virtual_memory().total / _GIB
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    return (
        f"{os.cpu_count()} cores of {processor()}, {memory_gib:.0f} GiB of memory, {system}, "
        f"Python {platform.python_version()}, Kafka {KAFKA_VERSION}"
    )


def processor() -> str:
    """The processor's model, as far as the system tells."""
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
