"""An answer to a question about the cluster, or why there is none. A question that was not answered breaks no rule unseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from eventsource.errors import EventSourceError, LogError

T = TypeVar("T")


class Unanswered(Exception):
    """Raised by `Answer.get` where there is no answer; `error` says why. Never leaves the doctor."""

    def __init__(self, error: EventSourceError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """Made by `answered`, `unanswered` or `ask`."""

    _value: tuple[T] | EventSourceError

    def get(self) -> T:
        """The answer. Raises `Unanswered`, which makes the rule that asked a finding."""
        if isinstance(self._value, EventSourceError):
            raise Unanswered(self._value)
        return self._value[0]

    @property
    def error(self) -> EventSourceError | None:
        """Why there is no answer; None where there is one."""
        return self._value if isinstance(self._value, EventSourceError) else None


def answered(value: T) -> Answer[T]:
    """An answer."""
    return Answer((value,))


def unanswered(error: EventSourceError) -> Answer[T]:
    """No answer, and why."""
    return Answer(error)


def not_asked() -> Answer[T]:
    """For what no rule of this examination needs."""
    return Answer(LogError("the question was not asked: report this as a defect of the doctor"))


def ask(question: Callable[[], T]) -> Answer[T]:
    """Asks, and keeps what the framework raises as the reason why there is no answer."""
    try:
        return answered(question())
    except Unanswered as missing:
        return unanswered(missing.error)  # it rests on another question
    except EventSourceError as error:
        return unanswered(error)
