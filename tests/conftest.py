"""What holds for every test: examples enough to find a mistake, and no time limit on a busy machine."""

from __future__ import annotations

import gc

from hypothesis import settings

settings.register_profile("eventsource", max_examples=50, deadline=None)
settings.load_profile("eventsource")

# Looking through all modules, classes and schemas again and again takes a tenth of the unit tests' time.
gc.freeze()
gc.set_threshold(50_000, 20, 20)
