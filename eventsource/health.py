"""The health pages of a worker, for whatever watches over it.

`GET /live`: 200 while the worker's loop turns and no command hangs for minutes, else 503: restart it. `GET /ready`: 200 while every
runner has its partitions and reads them, else 503: wait, or look at the log. Both answer JSON and tell states alone, never data or errors.
"""

from __future__ import annotations

import errno
import json
import socket
import threading
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Protocol, Self

from eventsource.errors import SettingsError
from eventsource.supervisor import RunnerStatus

_REQUEST_TIMEOUT_SECONDS: Final = 5.0


class Watched(Protocol):
    """What the pages tell about."""

    def alive(self) -> bool:
        """Whether its loop turns, and nothing in it hangs for good."""

    def ready(self) -> bool:
        """Whether all of it is at work."""

    def statuses(self) -> dict[str, RunnerStatus]:
        """Each part by name."""


class HealthServer:
    """Serves the pages from a thread of its own. Raises `SettingsError` when the port cannot be had.

    `url` is where it listens; port 0 takes a free one, and so does a port that is taken if it is only `preferred`.
    """

    def __init__(self, host: str, port: int, watched: Watched, *, preferred: bool = False) -> None:
        try:
            self._server = _bind_preferably(host, port, watched) if preferred else _bind(host, port, watched)
        except OSError as error:
            raise SettingsError(
                f"the health pages cannot be served at {host}:{port} ({error.strerror or error}): choose another with --health-port or "
                "EVENTSOURCE_WORKER__HEALTH_PORT (0 takes a free one), or another EVENTSOURCE_WORKER__HEALTH_HOST"
            ) from error
        self.port: int = self._server.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops serving and gives the port back."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    watched: Watched

    def server_bind(self) -> None:
        # HTTPServer's own asks the resolver for the host's full name, which may take long and is not needed.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A prober that hangs up is nobody's business."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_TIMEOUT_SECONDS
    server: _Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        watched = self.server.watched
        path = self.path.partition("?")[0]
        if path == "/live":
            alive = watched.alive()
            self._answer(
                HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE, {"status": "alive" if alive else "hangs"}
            )
        elif path == "/ready":
            ready = watched.ready()
            self._answer(
                HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
                {
                    "status": "ready" if ready else "not ready",
                    "runners": {name: asdict(status) for name, status in watched.statuses().items()},
                },
            )
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"status": "not found", "pages": ["/live", "/ready"]})

    def version_string(self) -> str:
        return "eventsource"

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds: they are not logged."""

    def _answer(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _bind_preferably(host: str, port: int, watched: Watched) -> _Server:
    try:
        return _bind(host, port, watched)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return _bind(host, 0, watched)


def _bind(host: str, port: int, watched: Watched) -> _Server:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    server_class = type("_FamilyServer", (_Server,), {"address_family": family})
    server: _Server = server_class(address[:2], _Handler)
    server.watched = watched
    return server
