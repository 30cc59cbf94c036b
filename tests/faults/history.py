"""What clients asked and what they were told: lines of JSON, written while it happens and read by the checker afterwards."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

OK: Final = "ok"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command as a client sent it; `attempt` counts from 1, under the same command id and `sent_at`."""

    command_id: str
    attempt: int
    client: int
    aggregate_id: str
    kind: str
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What the client was told: `ok`, `unknown`, or the name of the error. The place is that of the token, -1 without one."""

    command_id: str
    attempt: int
    status: str
    version: int = -1
    partition: int = -1
    offset: int = -1
    text: str = ""


class History:
    """Appends to a file. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def note(self, entry: Invocation | Result) -> None:
        """Appends an entry, with the time."""
        line = json.dumps({"is": type(entry).__name__, "at": round(time.time(), 4), **asdict(entry)})
        with self._lock:
            self._file.write(line + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_history(path: Path) -> Iterator[Invocation | Result]:
    """The entries of a file, in order."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            fields = json.loads(line)
            kind = {"Invocation": Invocation, "Result": Result}[fields.pop("is")]
            del fields["at"]
            yield kind(**fields)
