"""A proxy in front of a broker that can hold back the end of a transaction, and deliver it in the middle of the next one, or let
a connection become half-open: requests arrive, and no answer ever comes back.

What the network may do to a request whose connection broke: the client sends it again over another connection, and the first
copy arrives later. It reads no more of the protocol than the head of a request and the transactional id behind it.
Layouts: https://kafka.apache.org/protocol.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType
from typing import Final, NamedTuple, Self

_HOST: Final = "127.0.0.1"
_HEAD = struct.Struct(">hhih")  # API key, API version, correlation id, length of the client id
_PRODUCER = struct.Struct(">qhb")  # producer id, epoch, and in an EndTxn whether it commits
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s
_ANSWER_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.01


class Api(IntEnum):
    """Kinds of requests: https://kafka.apache.org/protocol#protocol_api_keys."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    API_VERSIONS = 18
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


# The requests of a transaction, which all begin with the transactional id, and the first version of each whose header has tagged
# fields and whose texts are compact.
_FLEXIBLE: Final = {
    Api.PRODUCE: 9,
    Api.ADD_PARTITIONS_TO_TXN: 3,
    Api.ADD_OFFSETS_TO_TXN: 3,
    Api.END_TXN: 3,
    Api.TXN_OFFSET_COMMIT: 3,
}


class Request(NamedTuple):
    """A request of a transaction. `commits` is None unless it ends one."""

    api: Api
    correlation_id: int
    transactional_id: str
    commits: bool | None = None


def read_request(frame: bytes) -> Request | None:
    """The request in a frame (without its length), or None if it is none of a transaction."""
    key, version, correlation_id, client_id_length = _HEAD.unpack_from(frame)
    if key not in _FLEXIBLE:
        return None
    api, at = Api(key), _HEAD.size + max(0, client_id_length)
    if version >= _FLEXIBLE[api]:
        at += 1  # no tagged fields
        length, at = frame[at] - 1, at + 1  # a varint: ids are shorter than 127 bytes
    else:
        (length,) = struct.unpack_from(">h", frame, at)
        at += 2
    if length < 0:
        return None  # a producer without transactions
    transactional_id = frame[at : at + length].decode()
    commits = bool(_PRODUCER.unpack_from(frame, at + length)[2]) if api is Api.END_TXN else None
    return Request(api, correlation_id, transactional_id, commits)


class _Connection(NamedTuple):
    client: socket.socket
    broker: socket.socket


@dataclass
class Trap:
    """Holds the next EndTxn (a commit or an abort), and lets it go before request `number` of kind `before` of the next transaction.

    That request goes on when the broker has answered to the held copy, and `is_done` says that it has done it: markers follow
    the answer.
    """

    commits: bool
    before: Api
    number: int = 1
    is_done: Callable[[], bool] = lambda: True
    transactional_id: str = ""
    answer: int | None = None
    """What the broker answered to the held copy: Kafka's error code, 0 where it ended a transaction."""
    correlation_id: int = -1
    frame: bytes = field(default=b"", repr=False)
    held: _Connection | None = field(default=None, repr=False)
    sent_again: bool = False
    seen: int = 0

    def is_released(self) -> bool:
        """Whether the held copy was delivered and answered."""
        return self.answer is not None


@dataclass
class Silence:
    """Makes the connections half-open over which the next requests of this kind are sent, so many of them."""

    api: int
    connections: int
    begun: threading.Event = field(default_factory=threading.Event)


class KafkaProxy:
    """Passes everything on, and tells clients to come through itself. A context manager."""

    def __init__(self, bootstrap_servers: str) -> None:
        host, _, port = bootstrap_servers.partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server((_HOST, 0))
        own_port = self._listener.getsockname()[1]
        self.bootstrap_servers = f"{_HOST}:{own_port}"
        # A broker's address, in whatever response: its host, and the port as 4 bytes.
        self._address = host.encode() + struct.pack(">i", int(port))
        self._own_address = _HOST.encode() + struct.pack(">i", own_port)
        self._changed = threading.Condition()
        self._connections: list[_Connection] = []
        self._unanswered: set[tuple[int, int]] = set()
        self._trap: Trap | None = None
        self._silence: Silence | None = None
        self._silent: set[int] = set()
        self.requests: Counter[int] = Counter()
        """How many requests of each kind were seen, by API key."""
        self._closed = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        _close(self._listener)
        for connection in self._connections:
            _close(*connection)

    def set(self, trap: Trap) -> Trap:
        """Sets a trap; the one before must have been sprung."""
        self._trap = trap
        return trap

    def silence(self, api: int, connections: int = 1) -> Silence:
        """Lets the connections that are next to carry such a request become half-open."""
        self._silence = Silence(api, connections)
        return self._silence

    # --- threads -----------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
                connection = _Connection(client, socket.create_connection(self._target))
            except OSError:
                return
            for one in connection:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            threading.Thread(target=self._to_broker, args=(connection,), name="proxy up", daemon=True).start()
            threading.Thread(target=self._to_client, args=(connection,), name="proxy down", daemon=True).start()

    def _to_broker(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            while frame := _read_frame(connection.client):
                self._note(frame, connection)
                request = read_request(frame)
                if request is not None:
                    if self._springs(request, frame, connection):
                        return  # the broker's side stays open: the copy is delivered through it
                    self._release_before(request)
                    with self._changed:
                        self._unanswered.add((id(connection), request.correlation_id))
                _write_frame(connection.broker, frame)
        _close(*connection)

    def _note(self, frame: bytes, connection: _Connection) -> None:
        (api,) = struct.unpack_from(">h", frame)
        with self._changed:
            self.requests[api] += 1
            silence = self._silence
            if silence is not None and silence.api == api and silence.connections > 0:
                silence.connections -= id(connection) not in self._silent
                self._silent.add(id(connection))
                silence.begun.set()

    def _to_client(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            while frame := _read_frame(connection.broker):
                (correlation_id,) = struct.unpack_from(">i", frame)
                with self._changed:
                    self._unanswered.discard((id(connection), correlation_id))
                    self._changed.notify_all()
                if id(connection) in self._silent:
                    continue
                trap = self._trap
                if trap is None or trap.held is not connection:
                    _write_frame(connection.client, frame.replace(self._address, self._own_address))
                elif correlation_id == trap.correlation_id:
                    with self._changed:
                        # Correlation id, throttle time (ms), error code.
                        trap.answer = struct.unpack_from(">iih", frame)[2]
                        self._changed.notify_all()
                    break
        _close(*connection)
        with self._changed:
            self._unanswered = {each for each in self._unanswered if each[0] != id(connection)}
            self._changed.notify_all()

    def _springs(self, request: Request, frame: bytes, connection: _Connection) -> bool:
        trap = self._trap
        if trap is None or trap.frame or request.commits is not trap.commits:
            return False
        trap.transactional_id, trap.correlation_id = request.transactional_id, request.correlation_id
        trap.held, trap.frame = connection, frame
        connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        _close(connection.client)
        return True

    def _release_before(self, request: Request) -> None:
        trap = self._trap
        if trap is None or trap.held is None or trap.is_released() or request.transactional_id != trap.transactional_id:
            return
        if not trap.sent_again:
            trap.sent_again = request.api is Api.END_TXN
            return
        trap.seen += request.api is trap.before
        if trap.seen < trap.number:
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._unanswered, _ANSWER_SECONDS)  # what came before is done
            _write_frame(trap.held.broker, trap.frame)
            self._changed.wait_for(trap.is_released, _ANSWER_SECONDS)
        while not trap.is_done():
            time.sleep(_LOOK_SECONDS)


def _read_frame(source: socket.socket) -> bytes:
    """The next frame without its length; empty at the end of the stream."""
    head = _read(source, 4)
    return _read(source, struct.unpack(">i", head)[0]) if head else b""


def _read(source: socket.socket, length: int) -> bytes:
    parts, left = [], length
    while left:
        part = source.recv(min(left, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _write_frame(target: socket.socket, frame: bytes) -> None:
    target.sendall(struct.pack(">i", len(frame)) + frame)


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
