"""Handles of native libraries in a forked child: they are the parent's, and are never destroyed there.

The threads that such a handle belongs to do not exist in a child. To destroy it waits for them or reads what they left behind:
a child that merely collects garbage dies of SIGSEGV, or hangs. What a child inherits therefore stays in its memory until it
ends.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any, Final

# The one list that belongs to the process: only the process can say that it forked.
_open: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def keep_in_children(handle: object) -> None:
    """Lets a handle live on in every child that this process forks while it is there. Call it before the handle is opened."""
    _open.add(handle)


class KeptInChildren:
    """Stands for a handle that takes no weak reference: it must live exactly as long as the handle."""

    __slots__ = ("__weakref__", "handle")

    def __init__(self, handle: object) -> None:
        self.handle = handle
        keep_in_children(self)


def _after_fork() -> None:
    # One reference more than there are names for it: neither the collector nor the end of the interpreter destroys it.
    for handle in list(_open):
        kept = handle.handle if isinstance(handle, KeptInChildren) else handle
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
