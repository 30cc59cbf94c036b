"""A client that cannot connect says why, as soon as librdkafka knows."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from eventsource.errors import AccessDenied, BrokerUnavailable, LogError
from eventsource.log.topics import plan
from eventsource.settings import KafkaSettings, Settings
from tests.integration.client.accounts import APP

SOON_SECONDS = 5.0  # of a time-out of 30
SASL = {"sasl.mechanism": "PLAIN", "sasl.username": "ada", "sasl.password": "hunter2"}


def settings(servers: str, **client: str) -> Settings:
    kafka = KafkaSettings(
        bootstrap_servers=servers,
        client={name.replace("_", "."): value for name, value in client.items()},
        request_timeout_seconds=30,
    )
    return Settings(_env_file=None, namespace="nowhere", kafka=kafka)


def refused(given: Settings, kind: type[LogError], *reasons: str) -> None:
    for connect in (APP.connect, lambda settings: plan(APP, settings)):
        began = time.monotonic()
        with pytest.raises(kind) as caught:
            connect(given)
        assert time.monotonic() - began < SOON_SECONDS
        text = str(caught.value)
        for reason in (*reasons, "EVENTSOURCE_KAFKA__CLIENT__SECURITY_PROTOCOL"):
            assert reason in text
        assert "hunter2" not in text


@pytest.fixture
def tls_listener() -> Iterator[str]:
    """It ends every connection that does not begin with a TLS handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with closing(connection):
                try:
                    context.wrap_socket(connection, server_side=True)
                except OSError:
                    continue

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_tls_towards_a_plain_listener(eventsource_stack: Any, protocol: str) -> None:
    given = settings(eventsource_stack.bootstrap_servers, security_protocol=protocol, **SASL)
    refused(given, BrokerUnavailable, "SSL handshake failed", "PLAINTEXT broker listener")


def test_sasl_towards_a_plain_listener(eventsource_stack: Any) -> None:
    given = settings(eventsource_stack.bootstrap_servers, security_protocol="SASL_PLAINTEXT", **SASL)
    refused(given, AccessDenied, "SASL PLAIN mechanism handshake failed")


def test_plain_towards_a_tls_listener(tls_listener: str) -> None:
    refused(settings(tls_listener), BrokerUnavailable, "requires TLS or SASL")


def test_a_port_that_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    refused(settings(f"127.0.0.1:{port}"), BrokerUnavailable, "Connection refused")


def test_a_name_that_nobody_knows() -> None:
    refused(settings("no-such-host.invalid:9092"), BrokerUnavailable, "Failed to resolve")
