from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Message

from eventsource.errors import RecordRefused, TransactionAborted
from eventsource.log.deliveries import Deliveries

RECORDS = 1_000


class Delivered:
    """As a delivered `confluent_kafka.Message`."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offset(self) -> int:
        return self._offset


def delivered(offset: int) -> Message:
    return cast("Message", Delivered(offset))


def listened(deliveries: Deliveries) -> dict[int, Any]:
    """The listeners of so many records, by index."""
    found = {index: deliveries.next_listener() for index in range(RECORDS - 1)}
    found[RECORDS - 1] = deliveries.last_listener()
    return {index: listener for index, listener in found.items() if listener is not None}


def test_of_many_records_few_are_reported_and_all_have_their_offsets() -> None:
    deliveries = Deliveries()
    listeners = listened(deliveries)
    assert len(listeners) < RECORDS / 10
    assert {0, RECORDS - 1} <= set(listeners)
    for index, listener in listeners.items():
        listener(None, delivered(50 + index))
    deliveries.check()
    assert (deliveries.first, deliveries.last) == (50, 50 + RECORDS - 1)
    assert list(deliveries.offsets()) == list(range(50, 50 + RECORDS))


def test_every_record_is_reported_where_that_is_asked_for() -> None:
    assert len(listened(Deliveries(all_reported=True))) == RECORDS


def test_a_report_that_is_missing_or_bad_ends_the_transaction() -> None:
    deliveries = Deliveries()
    for index, listener in list(listened(deliveries).items())[:-1]:
        listener(None, delivered(index))
    with pytest.raises(TransactionAborted, match="not every record"):
        deliveries.check()
    deliveries.last_listener()(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), delivered(0))
    with pytest.raises(RecordRefused):
        deliveries.check()
