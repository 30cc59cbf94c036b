"""Every error code that librdkafka's binding names has its class, and whether to try again is what Kafka says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from eventsource import errors
from eventsource.errors import BrokerUnavailable, LogError, OffsetLost, Retriable
from eventsource.log import kafka_errors
from eventsource.log.kafka_errors import ERROR_CLASSES, error_class, translate

NAMED = {
    name: value
    for name in dir(KafkaError)
    if re.fullmatch(r"_?[A-Z][A-Z0-9_]*", name) and isinstance(value := getattr(KafkaError, name), int)
}
CODES = sorted(set(NAMED.values()) - {KafkaError.NO_ERROR})

# "Retriable: true" in https://kafka.apache.org/protocol#protocol_error_codes, by code.
RETRIABLE_TO_KAFKA = {
    *(2, 3, 5, 6, 7, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 70, 71, 72, 74, 75, 78, 80, 83, 88, 89, 100, 103, 106),
    *(122, 123, 133),
}
DIFFERENT = {
    KafkaError.INVALID_MSG: "a damaged record stays damaged: to read it again for ever would stop a partition silently",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "an app without its topics must be told",
    KafkaError.UNKNOWN_TOPIC_ID: "a topic that was created again has lost its records",
    KafkaError.SHARE_SESSION_NOT_FOUND: "nothing here joins a share group",
    KafkaError.INVALID_SHARE_SESSION_EPOCH: "nothing here joins a share group",
    KafkaError.SHARE_SESSION_LIMIT_REACHED: "nothing here joins a share group",
}
# Codes of librdkafka itself, which Kafka's documentation knows nothing of: of unknown outcome, unreachable, or about to pass.
RETRIABLE_LOCALLY = {
    *("_ALL_BROKERS_DOWN", "_TRANSPORT", "_TIMED_OUT", "_RESOLVE", "_SSL", "_TIMED_OUT_QUEUE", "_MSG_TIMED_OUT"),
    *("_NODE_UPDATE", "_DESTROY_BROKER", "_UNKNOWN_BROKER", "_RETRY", "_ISR_INSUFF", "_WAIT_COORD", "_WAIT_CACHE"),
    *("_PURGE_QUEUE", "_PURGE_INFLIGHT", "_QUEUE_FULL", "_INTR", "_FENCED", "_ASSIGNMENT_LOST", "_MAX_POLL_EXCEEDED"),
    *("_GAPLESS_GUARANTEE", "_INCONSISTENT"),
}


def test_the_table_names_every_code_and_no_code_twice() -> None:
    assert set(ERROR_CLASSES) == set(CODES)
    groups = [group for group in vars(kafka_errors).values() if isinstance(group, frozenset)]
    assert sum(map(len, groups)) == len(ERROR_CLASSES)


@pytest.mark.parametrize("code", [code for code in CODES if code > 0], ids=lambda code: KafkaError(code).name())
def test_what_kafka_calls_retriable_is(code: int) -> None:
    retriable = issubclass(ERROR_CLASSES[code], Retriable)
    if code in RETRIABLE_TO_KAFKA and code not in DIFFERENT:
        assert retriable
    elif code in DIFFERENT:
        assert not retriable, DIFFERENT[code]


@pytest.mark.parametrize("name", sorted(name for name, code in NAMED.items() if code < -1))
def test_what_librdkafka_may_get_over_is_retriable_and_nothing_else_of_its_own(name: str) -> None:
    assert issubclass(ERROR_CLASSES[NAMED[name]], Retriable) == (name in RETRIABLE_LOCALLY)


@pytest.mark.parametrize("code", CODES, ids=lambda code: KafkaError(code).name())
def test_every_code_becomes_an_error_of_its_class_that_says_what_was_done(code: int) -> None:
    made = translate(KafkaError(code, "because"), "registering a schema", "kafka:9092")
    assert type(made) is ERROR_CLASSES[code]
    assert "registering a schema" in str(made)


def test_a_write_that_timed_out_may_be_tried_again() -> None:
    made = translate(KafkaError(KafkaError._MSG_TIMED_OUT), "registering schema deposit", "kafka:9092")
    assert type(made) is BrokerUnavailable
    assert isinstance(made, Retriable)


@pytest.mark.parametrize("code", sorted(kafka_errors.MISSING))
def test_a_topic_that_was_there_and_is_missing_has_lost_its_records(code: int) -> None:
    assert type(translate(KafkaError(code), "reading", "kafka:9092", topic_seen=True)) is OffsetLost


def test_a_code_that_is_newer_than_the_table_is_what_librdkafka_says_of_it() -> None:
    assert error_class(KafkaError(9_999, "new", False, True)) is BrokerUnavailable
    assert error_class(KafkaError(9_999, "new", False, False)) is LogError


def test_no_other_module_makes_an_error_of_a_code_by_itself() -> None:
    """A code may be looked at anywhere; sets of codes are the table's."""
    root = Path(errors.__file__).parents[1]
    made = re.compile(r"frozenset\(\s*\{\s*KafkaError\.")
    found = [
        str(file.relative_to(root))
        for package in ("eventsource", "projections", "sagas")
        for file in (root / package).rglob("*.py")
        if made.search(file.read_text())
    ]
    assert found == ["eventsource/log/kafka_errors.py"]
