"""The admin side against a broker that hangs: no answer is an error, never a figure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka.admin import NewTopic

from eventsource.embedded import EmbeddedStack
from eventsource.errors import BrokerUnavailable
from eventsource.log.admin import LogAdmin

WHERE = ("topic", 0)


def in_time(question: Callable[[], Any], limit_seconds: float = 60.0) -> Any:
    """The answer, once there is one within the second that a question gets here: a broker that began just now may take longer."""
    deadline = time.monotonic() + limit_seconds
    while True:
        try:
            return question()
        except BrokerUnavailable:
            assert time.monotonic() < deadline


@pytest.fixture(scope="module")
def hanging() -> Iterator[LogAdmin]:
    """The admin side of a broker that answered before, and stands still since."""
    with EmbeddedStack.ephemeral() as stack:
        LogAdmin({"bootstrap.servers": stack.bootstrap_servers}).create_topics([NewTopic(WHERE[0], 1, 1)])
        admin = LogAdmin({"bootstrap.servers": stack.bootstrap_servers}, request_timeout_seconds=1)
        assert in_time(lambda: admin.end_offsets([WHERE])) == {WHERE: 0}
        assert in_time(lambda: admin.offsets_since([WHERE], 0)) == {WHERE: None}
        stack.pause_broker(1)
        try:
            yield admin
        finally:
            stack.resume_broker(1)


@pytest.mark.parametrize(
    "question",
    [
        lambda admin: admin.first_offsets([WHERE]),
        lambda admin: admin.end_offsets([WHERE]),
        lambda admin: admin.end_offsets([WHERE], committed_only=True),
        lambda admin: admin.offsets_since([WHERE], 0),
        lambda admin: admin.descriptions([WHERE[0]]),
        lambda admin: admin.topic_configs([WHERE[0]]),
        lambda admin: admin.broker_config(1),
        lambda admin: admin.broker_ids(),
    ],
)
def test_what_a_broker_does_not_answer_is_an_error_and_never_a_figure(
    hanging: LogAdmin, question: Callable[[LogAdmin], Any]
) -> None:
    with pytest.raises(BrokerUnavailable):
        question(hanging)
