from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from eventsource.errors import SettingsError
from eventsource.health import HealthServer
from eventsource.supervisor import RunnerState, RunnerStatus


class Watched:
    is_alive = True
    is_ready = True

    def alive(self) -> bool:
        return self.is_alive

    def ready(self) -> bool:
        return self.is_ready

    def statuses(self) -> dict[str, RunnerStatus]:
        state = RunnerState.WORKING if self.is_ready else RunnerState.WAITING
        return {"commands/account": RunnerStatus(state, self.is_ready, 2)}


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
        {"status": "ready", "runners": {"commands/account": {"state": "working", "ready": True, "restarts": 2}}},
    )
    watched.is_ready = False
    status, document = ask(server, "/ready")
    assert status == 503
    assert document["runners"]["commands/account"]["state"] == "waiting to restart"


def test_head_answers_without_a_body_and_other_pages_are_not_there(server: HealthServer) -> None:
    assert ask(server, "/ready", "HEAD") == (200, None)
    assert ask(server, "/ready?verbose=1")[0] == 200
    assert ask(server, "/metrics")[0] == 404


def test_a_prober_that_says_nothing_keeps_nobody_waiting(server: HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert ask(server, "/live")[0] == 200


def test_a_taken_port_is_told_with_the_mend(server: HealthServer, watched: Watched) -> None:
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
