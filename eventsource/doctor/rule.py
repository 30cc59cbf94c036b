"""A rule: a named thing that must hold, and the function that tells from the facts whether it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from eventsource.doctor.answer import Unanswered
from eventsource.doctor.facts import Facts
from eventsource.doctor.finding import Finding, Problem, Severity
from eventsource.errors import ClusterMismatch, EventSourceError, Retriable


class Depth(IntEnum):
    """How far one has to look: what a worker asks at its start, what the doctor asks on top, what only a replay shows."""

    START = 0
    EXAMINATION = 1
    REPLAY = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """`demands` says what must hold, as a clause without a full stop.

    `raises` is the error that a worker refuses to start with, and decides the exit code. `for_owners`: it concerns none but
    those who handle commands. With `production_only` it is a warning elsewhere.
    """

    id: str
    severity: Severity
    demands: str
    raises: type[EventSourceError]
    find: Callable[[Facts], Iterable[Problem]]
    depth: Depth = Depth.START
    for_owners: bool = False
    production_only: bool = False

    def findings(self, facts: Facts) -> list[Finding]:
        """What breaks the rule; where a question was not answered, that."""
        severity = Severity.WARNING if self.production_only and not facts.production else self.severity
        try:
            return [
                Finding(
                    self.id,
                    problem.severity or severity,
                    problem.subject,
                    problem.problem,
                    problem.mend,
                    self.raises,
                )
                for problem in self.find(facts)
            ]
        except Unanswered as missing:
            return [self._unchecked(missing.error, severity)]

    def _unchecked(self, error: EventSourceError, severity: Severity) -> Finding:
        return Finding(
            self.id,
            severity,
            "",
            f"it could not be checked whether {self.demands}",
            str(error),
            # The log is not known to be damaged: a script may try again, or a permission is missing.
            type(error) if isinstance(error, Retriable) else ClusterMismatch,
            checked=False,
        )
