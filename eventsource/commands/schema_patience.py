"""How long a partition waits for schemas that nobody has registered."""

from __future__ import annotations

from typing import Final

from eventsource.clock import Clock

# A client registers its schema before it sends: longer than it takes to read that, a command must not hold its partition.
_LONGEST_SECONDS: Final = 2.0
# Commands of unknown schemas may come in thousands: all of them together are waited for no longer than one.
_AGAIN_SECONDS: Final = 30.0


class SchemaPatience:
    """Two seconds for a schema that is not there yet; none for the next half minute, once one was waited for in vain.

    Without patience the schemas topic is still read to its end, where the schema of everybody who registered first stands.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lost_until: float | None = None

    @property
    def seconds(self) -> float:
        """How long to wait for the next one."""
        if self._lost_until is not None and self._clock.monotonic() < self._lost_until:
            return 0.0
        return _LONGEST_SECONDS

    def lose(self) -> None:
        """One was waited for in vain."""
        if self.seconds:
            self._lost_until = self._clock.monotonic() + _AGAIN_SECONDS
