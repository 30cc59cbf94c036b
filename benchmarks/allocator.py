"""The memory allocator of the benchmarks' workers: the C library's with larger caches, as in the image."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Final

_TUNABLES: Final = "GLIBC_TUNABLES"
_LARGER_CACHES: Final = "glibc.malloc.tcache_count=20000:glibc.malloc.mxfast=0"
_CHOSEN_BY: Final = ("LD_PRELOAD", _TUNABLES)


def allocator() -> tuple[Mapping[str, str], str]:
    """The environment variables of it, and what it is called among the figures. Whoever has chosen one keeps it."""
    for name in _CHOSEN_BY:
        if os.environ.get(name):
            return {}, f"{name}={os.environ[name]}"
    if platform.libc_ver()[0] != "glibc":
        return {}, "the C library's"
    return {_TUNABLES: _LARGER_CACHES}, "glibc with larger caches"
