"""How a worker process handles its memory: settings of the whole process, which only its command may make."""

from __future__ import annotations

import ctypes
import gc
import os
from typing import Final

import structlog

_log = structlog.get_logger("eventsource.worker")

_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD of glibc's <malloc.h>
_LARGE_BYTES: Final = 256 << 10
_THRESHOLD_VARIABLE: Final = "MALLOC_MMAP_THRESHOLD_"
_TUNABLES_VARIABLE: Final = "GLIBC_TUNABLES"
_THRESHOLD_TUNABLE: Final = "glibc.malloc.mmap_threshold="


def collect_garbage_less_often() -> None:
    """Looks for cycles when a million objects are new; what was loaded by now is never looked through again."""
    # A worker makes many objects that no cycle ties together: four owners with a batch each hold some 200,000. A collection
    # that begins while they are alive looks through all of them and finds nothing; it took a seventh of a worker's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 10, 10)


def give_large_blocks_back() -> None:
    """Lets the C library return each large block to the system when it is freed.

    Does nothing where the user chose from which size on it does, or where there is another C library than glibc.
    """
    # Left alone, glibc keeps blocks of any size up to 32 MiB once one as large was freed. The state stores' memtables are
    # such blocks, and what is put into the holes that they leave keeps them from being filled again: a worker grew by 100 MB
    # an hour.
    if _THRESHOLD_VARIABLE in os.environ or _THRESHOLD_TUNABLE in os.environ.get(_TUNABLES_VARIABLE, ""):
        return
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    if not set_option(_MMAP_THRESHOLD, _LARGE_BYTES):
        _log.info("allocator_left_alone", reason="mallopt refused M_MMAP_THRESHOLD: the worker's memory may grow")
