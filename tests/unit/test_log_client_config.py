from __future__ import annotations

from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from eventsource.log.client_config import ClientErrorLog


def test_an_error_that_goes_on_is_told_at_once_and_then_now_and_again() -> None:
    seconds = 0.0
    log = ClientErrorLog(lambda: seconds)
    with capture_logs() as told:
        for _ in range(100):
            log(KafkaError(KafkaError._TRANSPORT))
        log(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        seconds = 31.0
        log(KafkaError(KafkaError._TRANSPORT))
        log(KafkaError(KafkaError._TRANSPORT))
    assert [(entry["code"], entry["repeated_since"]) for entry in told] == [
        ("_TRANSPORT", 0),
        ("_ALL_BROKERS_DOWN", 0),
        ("_TRANSPORT", 99),
    ]


def test_a_fatal_error_is_always_told() -> None:
    log = ClientErrorLog(lambda: 0.0)
    with capture_logs() as told:
        for _ in range(2):
            log(KafkaError(KafkaError._FENCED, "fenced", fatal=True))
    assert [entry["fatal"] for entry in told] == [True, True]
