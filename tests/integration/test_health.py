from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventsource import health
from eventsource.errors import SettingsError
from eventsource.health import HealthServer
from eventsource.supervised import RunnerState, RunnerStatus


class Watched:
    is_alive = True
    is_ready = True
    failure: str | None = None
    failed_partitions: tuple[int, ...] = ()

    def alive(self) -> bool:
        return self.is_alive

    def ready(self) -> bool:
        return self.is_ready

    def statuses(self) -> dict[str, RunnerStatus]:
        state = RunnerState.WORKING if self.is_ready else RunnerState.WAITING
        return {"commands/account": RunnerStatus(state, self.is_ready, 2, self.failure, self.failed_partitions)}


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def server(watched: Watched) -> Iterator[HealthServer]:
    with HealthServer("127.0.0.1", 0, watched) as server:
        yield server


def ask(server: HealthServer, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body) if body else None
    finally:
        connection.close()


def test_port_0_takes_a_free_one_and_says_which(server: HealthServer) -> None:
    assert server.port > 0
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert ask(server, "/live") == (200, {"status": "alive"})


def test_live_tells_whether_the_loop_turns(server: HealthServer, watched: Watched) -> None:
    watched.is_alive = False
    assert ask(server, "/live") == (503, {"status": "hangs"})


def test_ready_tells_each_runners_state(server: HealthServer, watched: Watched) -> None:
    assert ask(server, "/ready") == (
        200,
        {
            "status": "ready",
            "failed": [],
            "runners": {
                "commands/account": {
                    "state": "working",
                    "ready": True,
                    "restarts": 2,
                    "failure": None,
                    "failed_partitions": [],
                    "unassigned_seconds": 0,
                }
            },
        },
    )
    watched.is_ready = False
    status, document = ask(server, "/ready")
    assert status == 503
    assert document["runners"]["commands/account"]["state"] == "waiting to restart"


def test_ready_names_what_failed(server: HealthServer, watched: Watched) -> None:
    watched.is_ready, watched.failed_partitions = False, (2, 5)
    assert ask(server, "/ready")[1]["failed"] == ["commands/account[2]", "commands/account[5]"]
    watched.failure = "OffsetLost"
    document = ask(server, "/ready")[1]
    assert document["failed"] == ["commands/account"]
    assert document["runners"]["commands/account"]["failure"] == "OffsetLost"
    assert ask(server, "/live")[0] == 200


def say(server: HealthServer, request: bytes) -> bytes:
    """All that is answered to these bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n", b"200 OK"),
        (b"GET /live HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400 Bad Request"),
        (b"GET /live\r\n\r\n", b"400 Bad Request"),
        (b"GET live HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"\xff\x00 \r\n\r\n", b"400 Bad Request"),
        (b"GET /live HTTP/1.1\r\nHost: a", b"400 Bad Request"),
        (b"POST /live HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"405 Method Not Allowed"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400 Bad Request"),
        (b"GET /live HTTP/3.0\r\n\r\n", b"505 HTTP Version Not Supported"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"431 Request Header Fields Too Large"),
        (b"GET /live HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n", b"431 Request Header Fields Too Large"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else None,
)
def test_every_request_is_answered_as_http_1_1_says(server: HealthServer, request_: bytes, status: bytes) -> None:
    answer = say(server, request_)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 " + status
    assert b"Connection: close" in lines
    assert b"Content-Length: %d" % len(body) in lines
    assert "status" in json.loads(body)


def test_nobody_holds_a_connection_for_longer_than_a_request_may_take(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.3)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        dripping = threading.Thread(target=drip, args=(connection,))
        dripping.start()
        assert connection.recv(100) == b""
        assert time.monotonic() - began < 5
        dripping.join()


def drip(connection: socket.socket) -> None:
    """Sends a head that never ends."""
    with contextlib.suppress(OSError):
        for _ in range(200):
            connection.sendall(b"X")
            time.sleep(0.05)


def test_2_000_idle_connections_take_a_bounded_number_of_descriptors_and_keep_nobody_waiting(
    server: HealthServer,
) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    idle: list[socket.socket] = []
    try:
        for _ in range(2_000):
            idle.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        for _ in range(5):
            assert ask(server, "/live") == (200, {"status": "alive"})
        own = len([*Path("/proc/self/fd").iterdir()]) - before - len(idle)
        assert own <= 2 * health.MOST_CONNECTIONS
        assert threading.active_count() < 50
    finally:
        for one in idle:
            one.close()
    assert ask(server, "/ready")[0] == 200


def test_head_answers_without_a_body_and_other_pages_are_not_there(server: HealthServer) -> None:
    assert ask(server, "/ready", "HEAD") == (200, None)
    assert ask(server, "/ready?verbose=1")[0] == 200
    assert ask(server, "/metrics")[0] == 404


def test_a_prober_that_says_nothing_keeps_nobody_waiting(server: HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert ask(server, "/live")[0] == 200


def test_a_taken_port_is_reported_with_the_remedy(server: HealthServer, watched: Watched) -> None:
    with pytest.raises(SettingsError) as caught:
        HealthServer("127.0.0.1", server.port, watched)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert "--health-port" in str(caught.value)


def test_a_port_that_is_only_preferred_gives_way_to_a_free_one(server: HealthServer, watched: Watched) -> None:
    with HealthServer("127.0.0.1", server.port, watched, preferred=True) as second:
        assert second.port != server.port
        assert ask(second, "/live")[0] == 200


def test_a_host_that_is_none_of_this_machines_is_told(watched: Watched) -> None:
    with pytest.raises(SettingsError, match=r"cannot be served at host\.invalid:0"):
        HealthServer("host.invalid", 0, watched)


def test_closing_gives_the_port_back(watched: Watched) -> None:
    with HealthServer("127.0.0.1", 0, watched) as first:
        port = first.port
    with HealthServer("127.0.0.1", port, watched) as second:
        assert ask(second, "/live")[0] == 200


def test_it_serves_ipv6_where_there_is_ipv6(watched: Watched) -> None:
    try:
        with HealthServer("::1", 0, watched) as server:
            assert server.url.startswith("http://[::1]:")
    except SettingsError:
        pytest.skip("this machine has no IPv6 loopback")
