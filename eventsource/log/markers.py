"""The markers that end a transaction in a partition, written by hand: Kafka's DescribeProducers (version 0) and WriteTxnMarkers (1).

The latter is meant for transaction coordinators and for `kafka-transactions.sh abort`. The sender must know what the coordinator
decided: a marker that says otherwise loses events that were answered for, or shows ones that were not.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from eventsource.errors import LogError
from eventsource.log.admin import TopicAndPartition
from eventsource.log.kafka_request import ask

_WRITE_TXN_MARKERS: Final = 27
_TIMEOUT_SECONDS: Final = 10.0
_DESCRIBE_PRODUCERS: Final = 61
_PRODUCER: Final = struct.Struct(
    ">qiiqiqx"
)  # id, epoch, last sequence and time, coordinator's epoch, first offset, no tags


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that is open in a partition, as the partition's leader knows it."""

    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    first_offset: int


def takes_plain_text(client_config: Mapping[str, Any]) -> bool:
    """Whether these requests can be sent: they go out in plain text, without authentication."""
    return str(client_config.get("security.protocol", "plaintext")).lower() == "plaintext"


def open_transactions(leader: tuple[str, int], where: TopicAndPartition) -> list[OpenTransaction]:
    """The transactions that are open in a partition. `leader` is host and port of its leader. Raises `LogError`."""
    doing = f"asking for the open transactions of {where[0]}[{where[1]}]"
    answer = _ask(leader, _DESCRIBE_PRODUCERS, 0, b"\2" + _partition(where) + b"\0", doing)
    try:
        error, found = read_producers(answer)
    except (struct.error, IndexError) as failure:
        raise LogError(
            f"{doing}: the answer of {leader[0]}:{leader[1]} cannot be read ({failure}): report this"
        ) from failure
    if error:
        raise LogError(f"{doing}: the broker at {leader[0]}:{leader[1]} refuses it (error {error}): see its log")
    return found


def write_marker(
    leader: tuple[str, int], where: TopicAndPartition, transaction: OpenTransaction, *, commit: bool
) -> None:
    """Ends an open transaction in one partition. Raises `LogError` when the broker refuses or cannot be reached."""
    doing = f"ending the transaction of producer {transaction.producer_id} in {where[0]}[{where[1]}]"
    answer = _ask(leader, _WRITE_TXN_MARKERS, 1, encode_marker(where, transaction, commit=commit), doing)
    try:
        error = read_error(answer, where)
    except (struct.error, IndexError) as failure:
        raise LogError(
            f"{doing}: the answer of {leader[0]}:{leader[1]} cannot be read ({failure}): report this"
        ) from failure
    if error:
        raise LogError(f"{doing}: the broker at {leader[0]}:{leader[1]} refuses it (error {error}): see its log")


def encode_marker(where: TopicAndPartition, transaction: OpenTransaction, *, commit: bool) -> bytes:
    """The request's body: one marker for one partition."""
    return (
        b"\2"
        + struct.pack(">qhb", transaction.producer_id, transaction.producer_epoch, commit)
        + b"\2"
        + _partition(where)
        + struct.pack(">i", max(0, transaction.coordinator_epoch))
        + b"\0\0"
    )


def read_producers(body: bytes) -> tuple[int, list[OpenTransaction]]:
    """Error code and open transactions, from an answer about one partition. Raises `struct.error` or `IndexError` if it is none."""
    at = 4 + 1  # the throttle time, and one topic
    name, at = _read_length(body, at)
    at += max(0, name - 1) + 1 + 4  # its name, one partition, its number
    (error,) = struct.unpack_from(">h", body, at)
    message, at = _read_length(body, at + 2)
    count, at = _read_length(body, at + max(0, message - 1))
    found = []
    for _ in range(max(0, count - 1)):
        producer_id, epoch, _sequence, _time, coordinator_epoch, first = _PRODUCER.unpack_from(body, at)
        at += _PRODUCER.size
        if first >= 0:
            found.append(OpenTransaction(producer_id, epoch, coordinator_epoch, first))
    return int(error), found


def read_error(body: bytes, where: TopicAndPartition) -> int:
    """The error code in the answer about one partition; 0 for none. Raises `struct.error` or `IndexError` if it is none."""
    name, at = _read_length(body, 1 + 8 + 1)  # one marker, its producer, one topic
    partition, error = struct.unpack_from(">ih", body, at + max(0, name - 1) + 1)
    if partition != where[1]:
        raise IndexError(f"an answer about partition {partition}")
    return int(error)


def _ask(leader: tuple[str, int], api_key: int, version: int, body: bytes, doing: str) -> bytes:
    try:
        return ask(*leader, api_key, version, body, timeout_seconds=_TIMEOUT_SECONDS)
    except OSError as failure:
        raise LogError(
            f"{doing}: the broker at {leader[0]}:{leader[1]} gave no answer that can be read ({failure}): its listener must take plain "
            "text; otherwise use `kafka-transactions.sh`"
        ) from failure


def _partition(where: TopicAndPartition) -> bytes:
    topic = where[0].encode()
    return _length(len(topic) + 1) + topic + b"\2" + struct.pack(">i", where[1]) + b"\0"


def _read_length(body: bytes, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _length(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
