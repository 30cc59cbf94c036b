"""A steady trickle of commands beside a take-over, and when each was answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from benchmarks.backlog import account_id
from benchmarks.children import ChildFailed
from benchmarks.requesters import Answered, Requester

_EVERY_SECONDS: Final = 0.02
_SETTLED_SECONDS: Final = 1.0
_ACCOUNTS: Final = 100


class Probe:
    """Sends a command every 20 ms to accounts that exist, in a thread of its own. A context manager."""

    def __init__(self, connect: Callable[[Answered], Requester]) -> None:
        self._sent: list[float] = []
        self._answers: list[tuple[float, float]] = []
        self._requester = connect(self._note)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name="probe", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._requester.close()

    def answered_seconds(self) -> list[float]:
        """When each answered command was answered."""
        return [answered for _, answered in list(self._answers)]

    def wait_for_answers(self, since_seconds: float, check: Callable[[], None], timeout_seconds: float) -> None:
        """Waits until commands that were sent after that moment have been answered for a second.

        Raises `ChildFailed` when they are not in time, and what `check` raises.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            check()
            answers = [answered for sent, answered in list(self._answers) if sent > since_seconds]
            if answers and max(answers) - min(answers) > _SETTLED_SECONDS:
                return
            if time.monotonic() > deadline:
                raise ChildFailed(f"nobody answered for {timeout_seconds:g} s: {self._requester.failures[:1]}")
            time.sleep(_EVERY_SECONDS)

    def _note(self, number: int, now: float) -> None:
        self._answers.append((self._sent[number], now))

    def _send(self) -> None:
        number = 0
        while not self._stop.wait(_EVERY_SECONDS):
            self._sent.append(time.monotonic())
            self._requester.send(number, account_id(number % _ACCOUNTS), opens=False)
            number += 1
