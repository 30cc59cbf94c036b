"""Workers that lack a guard: what each guard is for is shown by what happens without it. Used by the worker program alone."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, Final

from eventsource.commands.owner import PartitionOwner
from eventsource.log import transactions
from eventsource.log.admin import LogAdmin
from eventsource.log.transactions import PartitionWriter, Transaction

_GROUP_AT: Final = len(b"CGMDv2:") + 4  # behind the generation


def _suspicion() -> None:
    """Producers whose coordinator gave signs of trouble go on."""
    PartitionWriter.suspect = lambda self: None  # type: ignore[method-assign]
    Transaction._give_up = lambda self, reason: None  # type: ignore[method-assign]


def _renewal() -> None:
    """An owner keeps its producers, whatever happened to their transactions."""
    kept: dict[str, Any] = {}
    make, fence = PartitionWriter.__init__, PartitionWriter.fence

    def make_or_take(self: PartitionWriter, config: Any, transactional_ids: Any, **arguments: Any) -> None:
        make(self, config, transactional_ids, **arguments)
        self._key = transactional_ids[0]  # type: ignore[attr-defined]
        if self._key in kept:  # type: ignore[attr-defined]
            self._producers, self._suspicions = kept[self._key]  # type: ignore[attr-defined]

    def fence_once(self: PartitionWriter) -> None:
        if self._key not in kept:  # type: ignore[attr-defined]
            fence(self)
            kept[self._key] = self._producers, self._suspicions  # type: ignore[attr-defined]

    PartitionWriter.__init__ = make_or_take  # type: ignore[method-assign, assignment]
    PartitionWriter.fence = fence_once  # type: ignore[method-assign]
    PartitionWriter.close = lambda self: None  # type: ignore[method-assign]
    _suspicion()


def _partition_fence() -> None:
    """Transactional ids are the worker's own: nobody else is ever shut out by them."""
    make = PartitionWriter.__init__

    def make_own(self: PartitionWriter, config: Any, transactional_ids: Any, **arguments: Any) -> None:
        make(self, config, [f"{transactional_id}.{os.getpid()}" for transactional_id in transactional_ids], **arguments)

    PartitionWriter.__init__ = make_own  # type: ignore[method-assign, assignment]


def _uncommitted_end() -> None:
    """The end to replay to is the last stable offset."""
    end_offsets = LogAdmin.end_offsets
    LogAdmin.end_offsets = functools.partialmethod(end_offsets, committed_only=True)  # type: ignore[assignment]


def _group_fence() -> None:
    """Offsets are sent in the name of a member that never joined, which no broker of a classic group checks."""

    def ghost(metadata: bytes | None) -> bytes:
        assert metadata is not None
        group = metadata[_GROUP_AT:].partition(b"\0")[0]
        return metadata[: _GROUP_AT - 4] + (-1).to_bytes(4, "little", signed=True) + group + b"\0\0\1"

    transactions.check_group_metadata = ghost


def _loss() -> None:
    """Whoever loses a partition ends as whoever gives it back: with the transaction that it is in."""
    PartitionOwner.lose = PartitionOwner.stop  # type: ignore[method-assign]


_REMOVALS: Final[dict[str, Callable[[], None]]] = {
    "suspicion": _suspicion,
    "renewal": _renewal,
    "partition fence": _partition_fence,
    "uncommitted end": _uncommitted_end,
    "group fence": _group_fence,
    "loss": _loss,
}


def remove(guard: str) -> None:
    """Takes a guard out of this process."""
    _REMOVALS[guard]()
