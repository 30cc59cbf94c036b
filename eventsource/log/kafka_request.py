"""Kafka requests that librdkafka has no function for, on a connection of their own: plain text, without authentication."""

from __future__ import annotations

import socket
import struct
from typing import Final

_CLIENT_ID: Final = b"eventsource"
_CORRELATION_ID: Final = 1
_LARGEST_ANSWER_BYTES: Final = 1024 * 1024


def ask(host: str, port: int, api_key: int, api_version: int, body: bytes, *, timeout_seconds: float) -> bytes:
    """The body of the answer to one request of a flexible version (KIP-482). Raises `OSError`."""
    with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
        connection.sendall(encode_request(api_key, api_version, body))
        (length,) = struct.unpack(">i", _receive(connection, 4))
        if not 5 <= length <= _LARGEST_ANSWER_BYTES:
            raise ConnectionError(f"an answer of {length} bytes")
        return answer_body(_receive(connection, length))


def encode_request(api_key: int, api_version: int, body: bytes) -> bytes:
    """The request with its length and a header of version 2, without tagged fields."""
    header = struct.pack(">hhih", api_key, api_version, _CORRELATION_ID, len(_CLIENT_ID)) + _CLIENT_ID + b"\0"
    return struct.pack(">i", len(header) + len(body)) + header + body


def answer_body(answer: bytes) -> bytes:
    """What follows a header of version 1. Raises `ConnectionError` if it is no answer to that request."""
    try:
        found, tags = struct.unpack_from(">ib", answer)
    except struct.error as short:
        raise ConnectionError(f"an answer of {len(answer)} bytes") from short
    if (found, tags) != (_CORRELATION_ID, 0):
        raise ConnectionError(f"an answer to request {found}, with {tags} tagged fields")
    return answer[5:]


def _receive(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        part = connection.recv(count - len(received))
        if not part:
            raise ConnectionError("the connection ended before the answer")
        received += part
    return bytes(received)
