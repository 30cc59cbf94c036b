"""How long the tests may take: seconds in `make test`, as long as it takes in `make faults`."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import Final

SEED_VARIABLE: Final = "EVENTSOURCE_FAULTS_SEED"
SEEDS_VARIABLE: Final = "EVENTSOURCE_FAULTS_SEEDS"
_EXAMPLES: Final = 50


@dataclass(frozen=True, slots=True)
class Sweep:
    """What `make faults` asks for. `seeds` is None in `make test`; `seed` is a seed to be repeated."""

    seeds: int | None
    seed: int | None

    @classmethod
    def from_environment(cls) -> Sweep:
        """Reads EVENTSOURCE_FAULTS_SEEDS and EVENTSOURCE_FAULTS_SEED. Raises `ValueError` unless they are numbers."""
        seeds, seed = os.environ.get(SEEDS_VARIABLE), os.environ.get(SEED_VARIABLE)
        return cls(max(1, int(seeds)) if seeds else None, int(seed) if seed else None)

    @property
    def long(self) -> bool:
        """Whether tests marked `sweep` are run."""
        return self.seeds is not None

    @property
    def runs(self) -> int:
        """How often a test that takes a seed is run, each time with another one."""
        return 1 if self.seed is not None else self.seeds or 1

    @property
    def examples(self) -> int:
        """How many examples a property test draws."""
        return _EXAMPLES * (self.seeds or 1)

    def times(self, quick: int, long: int) -> int:
        """How often something is repeated: `quick` in `make test`, `long` in `make faults`."""
        return long if self.long else quick

    def draw(self) -> int:
        """A seed: the one to be repeated, or another at every call."""
        return self.seed if self.seed is not None else random.SystemRandom().randrange(10**9)
