from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from eventsource.commands.partition_failures import PartitionFailures
from eventsource.errors import HeaderError, OffsetLost, TopicMismatch
from eventsource.log.identity import TopicIdentities


@pytest.fixture
def failures() -> PartitionFailures:
    return PartitionFailures("account", wait_seconds=lambda failures: 2.0 * failures)


def test_a_failed_partition_is_shown_and_may_start_again_after_its_wait(failures: PartitionFailures) -> None:
    assert failures.may_start(3, 0.0)
    failures.add(3, HeaderError("foreign"), 10.0)
    assert failures.shown() == {3: "HeaderError"}
    assert not failures.may_start(3, 11.9)
    assert failures.may_start(3, 12.0)
    assert failures.may_start(4, 10.0)
    failures.add(3, HeaderError("foreign"), 12.0)
    assert not failures.may_start(3, 15.9), "the second wait is longer"
    assert failures.may_start(3, 16.0)


def test_a_partition_has_recovered_once_it_has_handled_for_a_while(failures: PartitionFailures) -> None:
    failures.add(3, HeaderError("foreign"), 0.0)
    failures.note(3, handling=True, now=10.0)
    failures.note(3, handling=True, now=14.9)
    assert failures.shown()
    failures.note(3, handling=False, now=14.95)
    failures.note(3, handling=True, now=15.0)
    failures.note(3, handling=True, now=19.9)
    assert failures.shown()
    failures.note(3, handling=True, now=20.0)
    assert not failures.shown()
    failures.note(3, handling=True, now=21.0)


def test_a_partition_whose_log_is_damaged_is_never_started_again_wherever_it_went_meanwhile(
    failures: PartitionFailures,
) -> None:
    with capture_logs() as logs:
        failures.add(3, OffsetLost("cut"), 0.0)
    assert "not tried again" in logs[0]["next"]
    failures.keep(set())
    failures.close()  # the runner ends, and another begins in this process
    assert not failures.may_start(3, 1e9)
    assert failures.shown() == {3: "OffsetLost"}
    failures.add(4, HeaderError("foreign"), 0.0)
    failures.keep({3})
    assert failures.shown() == {3: "OffsetLost"}, "another worker has partition 4 now"


def test_the_same_failure_is_one_line_a_minute(failures: PartitionFailures) -> None:
    with capture_logs() as logs:
        for now in range(0, 120, 10):
            failures.add(3, HeaderError("foreign"), float(now))
    assert [line["failures"] for line in logs] == [1, 7]


def test_a_topic_of_another_id_is_refused() -> None:
    identities = TopicIdentities()
    identities.check({"a": b"1", "b": b"2"})
    identities.check({"b": b"2"})
    identities.check({})
    with pytest.raises(TopicMismatch, match="topic b was deleted and created again while this worker ran"):
        identities.check({"a": b"1", "b": b"3"})
    identities.check({"b": b"2"})
