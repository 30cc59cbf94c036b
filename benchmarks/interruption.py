"""How long nobody answered. Pure: what could lie has its own tests."""

from __future__ import annotations

from collections.abc import Iterable


def seconds_until_resumed(signalled_seconds: float, answered_seconds: Iterable[float]) -> float:
    """From the signal to the end of the longest silence after it, by the times at which steadily sent requests were answered.

    An owner that was told to stop still answers what it is at, and after `kill -9` an answer may be on its way: so it is not the
    first answer after the signal that the next owner gave, but the one that ended the silence. Raises `ValueError` when there is
    no answer after the signal.
    """
    later = sorted(answered for answered in answered_seconds if answered > signalled_seconds)
    if not later:
        raise ValueError("nothing was answered after the signal")
    before = [signalled_seconds, *later[:-1]]
    _silence, resumed = max((after - earlier, after) for earlier, after in zip(before, later, strict=True))
    return resumed - signalled_seconds
