"""Requests that are repeated while the first is in flight."""

from __future__ import annotations

import pytest

from eventsource.errors import CommandIdReused
from eventsource.log.topics import apply
from eventsource.settings import Settings
from tests.counter_log import APP, Begin, Count, Counted, Counter
from tests.integration.command_threads import WorkerThread, read_topic

ONE, SAME, OTHER = {"tea": 0.0, "pot": 2.0}, {"pot": 2.0, "tea": -0.0}, {"tea": 1.0, "pot": 2.0}


def test_a_repetition_in_flight_with_its_dict_in_another_order_shares_the_answer(settings: Settings) -> None:
    apply(APP, settings)
    with APP.connect(settings) as client:
        begun = client.submit(Counter, "a", Begin())
        first = client.submit(Counter, "a", Count(notes=ONE), command_id="c-1")
        assert client.submit(Counter, "a", Count(notes=SAME), command_id="c-1") is first
        with pytest.raises(CommandIdReused):
            client.submit(Counter, "a", Count(notes=OTHER), command_id="c-1")
        appended = client.submit_append(Counter, "a", [Counted(notes=ONE)], expected_version=2, command_id="a-1")
        again = client.submit_append(Counter, "a", [Counted(notes=SAME)], expected_version=2, command_id="a-1")
        assert again is appended
        with pytest.raises(CommandIdReused):
            client.submit_append(Counter, "a", [Counted(notes=OTHER)], expected_version=2, command_id="a-1")
        with WorkerThread(APP, Counter, settings):
            assert [pending.result().version for pending in (begun, first, appended)] == [1, 2, 3]
            # Once it is answered, the owner knows it by the same form.
            assert client.send(Counter, "a", Count(notes=SAME), command_id="c-1") == first.result()
    assert len(read_topic(settings, APP.names(settings.namespace).commands("counter"), 1)) == 4
