from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from eventsource.log.connection_errors import ConnectionErrors

DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
REFUSED = KafkaError(KafkaError._TRANSPORT, "kafka:1: Connect failed: Connection refused (after 0ms in state CONNECT)")
LOGIN = KafkaError(KafkaError._AUTHENTICATION, "kafka:1: SASL PLAIN failed (after 1ms in state AUTH_HANDSHAKE)")


def test_the_reason_is_librdkafkas_without_its_internals() -> None:
    noted = ConnectionErrors()
    assert (noted.reason, noted.all_down) == ("", False)
    noted(REFUSED)
    noted(DOWN)
    assert (noted.reason, noted.all_down) == ("kafka:1: Connect failed: Connection refused", True)


@pytest.mark.parametrize("order", [(LOGIN, REFUSED), (REFUSED, LOGIN)])
def test_a_failed_login_says_more_than_the_disconnection_that_follows(order: tuple[KafkaError, ...]) -> None:
    noted = ConnectionErrors()
    for error in order:
        noted(error)
    assert noted.reason == "kafka:1: SASL PLAIN failed"
    assert noted.denied


@pytest.mark.parametrize("state", ["SSL_HANDSHAKE", "SSL_HANDSHAKE, 1 identical error(s) suppressed"])
def test_a_connection_that_is_reset_in_the_handshake_is_a_failed_handshake(state: str) -> None:
    noted = ConnectionErrors()
    noted(KafkaError(KafkaError._TRANSPORT, f"ssl://kafka:1/bootstrap: Disconnected (after 3ms in state {state})"))
    noted(REFUSED)
    assert noted.reason.startswith("SSL handshake failed: ssl://kafka:1/bootstrap: Disconnected")
    assert "PLAINTEXT broker listener" in noted.reason


def test_a_listener_that_hangs_up_without_a_word_is_suspected_of_another_protocol() -> None:
    noted = ConnectionErrors()
    noted(DOWN)
    assert "requires TLS or SASL" in noted.reason


def test_brokers_that_have_answered_once_have_the_right_settings() -> None:
    noted = ConnectionErrors()
    noted(LOGIN)
    noted.answered()
    assert (noted.reason, noted.all_down, noted.denied) == ("", False, False)
    noted(DOWN)
    assert noted.reason == ""


def test_what_was_reported_before_says_nothing_of_now() -> None:
    noted = ConnectionErrors()
    noted(LOGIN)
    noted(DOWN)
    noted.clear()
    assert (noted.reason, noted.all_down, noted.denied) == ("", False, False)
