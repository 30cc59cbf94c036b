"""What the doctor found: a broken rule, with the actual figures and the mend."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from eventsource.errors import EventSourceError


class Severity(StrEnum):
    """`danger`: data may be lost, forked or executed twice, or no worker can work. `warning`: nothing of that yet."""

    DANGER = "danger"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rule says: `problem` and `mend` are one sentence each, without a full stop. `subject` is what it is about.

    `severity` is given where it is not the rule's own.
    """

    subject: str
    problem: str
    mend: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule. With `checked=False` it could not be checked, and counts as broken: the doctor fails closed.

    `raises` is the error that a worker refuses to start with.
    """

    rule: str
    severity: Severity
    subject: str
    problem: str
    mend: str
    raises: type[EventSourceError]
    checked: bool = True

    def __str__(self) -> str:
        return f"{self.problem}: {self.mend}"
