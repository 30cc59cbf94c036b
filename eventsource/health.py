"""The health pages of a worker, for whatever watches over it.

`GET /live` returns 200 while the supervising loop responds and no command hangs for minutes, else 503: restart the process. `GET /ready`
returns 200 while every runner has its partitions and works on them, else 503, and names what failed. Both answer JSON with states and
classes of errors alone, never data or messages.

One thread serves all connections. A bounded number is open at a time, each for a bounded time, so that clients of this port take no more
of the process than that, however often they connect.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import threading
from dataclasses import asdict
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Protocol, Self

from eventsource.errors import SettingsError
from eventsource.supervised import RunnerStatus

MOST_CONNECTIONS: Final = 64
REQUEST_SECONDS: Final = 5.0
"""How long a client may take from its connection to the end of the request's head, and again to take the answer."""
_ACCEPTED_TOGETHER: Final = 8
_QUEUED_CONNECTIONS: Final = 1_024
_MOST_HEAD_BYTES: Final = 8_192
_END_OF_HEAD: Final = b"\r\n\r\n"
_METHODS: Final = ("GET", "HEAD")
_VERSIONS: Final = ("HTTP/1.0", "HTTP/1.1")
_PAGES: Final = ["/live", "/ready"]


class Watched(Protocol):
    """What the pages show."""

    def alive(self) -> bool:
        """Whether its loop responds, and nothing in it hangs for good."""

    def ready(self) -> bool:
        """Whether all of it is at work."""

    def statuses(self) -> dict[str, RunnerStatus]:
        """Each part by name."""


class HealthServer:
    """Serves the pages from a thread of its own. Raises `SettingsError` when the port is not free.

    `url` is where it listens; port 0 takes a free one, and so does a port that is taken if it is only `preferred`.
    """

    def __init__(self, host: str, port: int, watched: Watched, *, preferred: bool = False) -> None:
        try:
            listener = _bind_preferably(host, port) if preferred else _bind(host, port)
        except OSError as error:
            raise SettingsError(
                f"the health pages cannot be served at {host}:{port} ({error.strerror or error}): choose another with --health-port or "
                "EVENTSOURCE_WORKER__HEALTH_PORT (0 takes a free one), or another EVENTSOURCE_WORKER__HEALTH_HOST"
            ) from error
        self.port: int = listener.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._listener = listener
        self._pages = _Pages(watched)
        self._loop = asyncio.new_event_loop()
        self._closed = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops serving and gives the port back. Again is a no-op."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve_until_closed())

    async def _serve_until_closed(self) -> None:
        # To asyncio, `backlog` is also how many connections are accepted before any of them is looked at, several times over.
        server = await asyncio.start_server(
            self._pages.serve, sock=self._listener, backlog=_ACCEPTED_TOGETHER, limit=_MOST_HEAD_BYTES
        )
        # What the system keeps for us costs the process nothing; where it has no room, a client waits for a second before it tries again.
        self._listener.listen(_QUEUED_CONNECTIONS)
        try:
            await self._closed.wait()
        finally:
            server.close()
            self._pages.close()


class _Pages:
    """Answers connections. Belongs to the loop's thread."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._open: dict[asyncio.StreamWriter, None] = {}  # in the order in which they came

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request, and closes the connection. A client that is late or hangs up gets no answer."""
        self._open[writer] = None
        if len(self._open) > MOST_CONNECTIONS:
            # The oldest makes room: one that means it has asked long since.
            self._drop(next(iter(self._open)))
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                answer = await self._answer_to(reader)
            async with asyncio.timeout(REQUEST_SECONDS):
                writer.write(answer)
                await writer.drain()
        except (TimeoutError, OSError, EOFError):
            pass  # a client that hangs up or says nothing is no news
        finally:
            self._drop(writer)

    def close(self) -> None:
        """Drops all connections."""
        for writer in [*self._open]:
            self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._open.pop(writer, None)
        writer.close()

    async def _answer_to(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(_END_OF_HEAD)
        except asyncio.LimitOverrunError:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, {"status": "request too large"})
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                raise
            return _response(HTTPStatus.BAD_REQUEST, {"status": "bad request"})
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[1].startswith("/") or not words[2].startswith("HTTP/"):
            return _response(HTTPStatus.BAD_REQUEST, {"status": "bad request"})
        method, target, version = words
        if version not in _VERSIONS:
            return _response(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, {"status": "version not supported"})
        if method not in _METHODS:
            allow = ", ".join(_METHODS)
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, {"status": "method not allowed"}, f"Allow: {allow}\r\n")
        status, document = self._page(target.partition("?")[0])
        return _response(status, document, with_body=method == "GET")

    def _page(self, path: str) -> tuple[HTTPStatus, dict[str, Any]]:
        watched = self._watched
        if path == "/live":
            alive = watched.alive()
            return _status(alive), {"status": "alive" if alive else "hangs"}
        if path == "/ready":
            ready, statuses = watched.ready(), watched.statuses()
            return _status(ready), {
                "status": "ready" if ready else "not ready",
                "failed": [part for name, status in statuses.items() for part in _failed(name, status)],
                "runners": {name: asdict(status) for name, status in statuses.items()},
            }
        return HTTPStatus.NOT_FOUND, {"status": "not found", "pages": _PAGES}


def _failed(name: str, status: RunnerStatus) -> list[str]:
    if status.failure is not None:
        return [name]
    return [f"{name}[{partition}]" for partition in status.failed_partitions]


def _status(well: bool) -> HTTPStatus:
    return HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE


def _response(status: HTTPStatus, document: dict[str, Any], headers: str = "", *, with_body: bool = True) -> bytes:
    body = json.dumps(document).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: eventsource\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n{headers}Connection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")


def _bind_preferably(host: str, port: int) -> socket.socket:
    try:
        return _bind(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return _bind(host, 0)


def _bind(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_QUEUED_CONNECTIONS)
    except BaseException:
        listener.close()
        raise
    return listener
