"""What a worker is to do to itself, and when: handed to the worker program as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from eventsource.log.steps import Step


class Act(StrEnum):
    """What happens at a step."""

    KILL = "kill"  # SIGKILL to itself
    STOP = "stop"  # SIGSTOP to itself: whoever started it lets it go on
    TERM = "term"  # SIGTERM to itself
    RAISE = "raise"  # an error comes out of the step: in a transaction, the owner aborts


@dataclass(frozen=True, slots=True)
class Fault:
    """At which step, at which of its occurrences, and what.

    Occurrences count from 1, those of one partition or of all, since the fault before this one happened; with `when`, since
    there has been a file of this path. The step then takes `lasting_seconds` more.
    """

    step: Step
    act: Act
    occurrence: int = 1
    partition: int | None = None
    when: str = ""
    lasting_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A worker's whole task: its faults, one after the other.

    `without` names the guards it lacks; with `turn_seconds` it leaves and joins again so often.
    """

    steps: str
    faults: Sequence[Fault] = ()
    without: Sequence[str] = ()
    turn_seconds: float | None = None

    def to_json(self) -> str:
        """As the worker program takes it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read back."""
        fields = json.loads(text)
        faults = [
            Fault(**{**fault, "step": Step(fault["step"]), "act": Act(fault["act"])}) for fault in fields.pop("faults")
        ]
        return cls(faults=faults, **fields)


@dataclass(frozen=True, slots=True)
class Happened:
    """A line of a worker's file of steps. `occurrence` counts the step in its partition; `act` is what the plan had for it.

    The pseudo-step `ready` says that the worker has all its partitions.
    """

    at: float
    pid: int
    step: str
    partition: int = -1
    occurrence: int = 0
    act: str = ""

    def to_line(self) -> str:
        """The line."""
        return json.dumps(asdict(self)) + "\n"


READY = "ready"


def read_steps(path: Path) -> list[Happened]:
    """The lines there are. A line that is being written just now is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Happened(**json.loads(line)) for line in lines if line.endswith("\n")]
