from __future__ import annotations

from datetime import timedelta

from eventsource.commands.schema_patience import SchemaPatience
from eventsource.testing import VirtualClock


def test_once_a_schema_was_waited_for_in_vain_no_other_is_for_half_a_minute() -> None:
    clock = VirtualClock()
    patience = SchemaPatience(clock)
    assert patience.seconds == 2
    patience.lose()
    clock.advance(timedelta(seconds=29))
    assert patience.seconds == 0
    patience.lose()  # what did not wait puts nothing off
    clock.advance(timedelta(seconds=1))
    assert patience.seconds == 2
