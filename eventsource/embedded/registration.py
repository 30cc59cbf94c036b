"""Takes the registration of a broker that is gone out of the cluster's metadata, before the broker starts again.

A broker that ended without a controlled shutdown is still registered, as the leader of its partitions. Started again as it is,
it leads them by that old metadata, is then fenced, which leaves every partition without a leader for a moment, and only then
registers. In that moment its transaction coordinator takes partitions without a leader for deleted ones and completes their
transactions without writing the markers (KAFKA-20734). Without the registration it begins without partitions and gets all of
them at once. It also need not wait until its old session has timed out.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Final

from eventsource.embedded.ports import HOST
from eventsource.errors import EmbeddedStackError
from eventsource.log.kafka_request import ask

_UNREGISTER_BROKER: Final = 64
_NONE: Final = 0
_BROKER_ID_NOT_REGISTERED: Final = 102
# Not elected yet, or its metadata is not read yet.
_TRY_AGAIN: Final = frozenset({7, 14, 15, 16, 41})  # REQUEST_TIMED_OUT, …COORDINATOR…, NOT_CONTROLLER
_ANSWER_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.05


def unregister_broker(
    broker_id: int, controller_port: int, *, timeout_seconds: float, check: Callable[[], None] = lambda: None
) -> None:
    """Returns once the controller on this port has no registration of the broker. `check` is called before each attempt.

    The broker must not run: it would go on without being known. Raises `EmbeddedStackError` when the controller refuses, or
    does not answer in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        check()
        try:
            error = _ask(broker_id, controller_port)
        except OSError as unreachable:
            what: object = unreachable
        else:
            if error in (_NONE, _BROKER_ID_NOT_REGISTERED):
                return
            what = f"error {error}"
            if error not in _TRY_AGAIN:
                raise EmbeddedStackError(
                    f"Kafka's controller does not unregister broker {broker_id} ({what}): see its log, or use another data folder"
                )
        if time.monotonic() >= deadline:
            raise EmbeddedStackError(
                f"Kafka's controller did not unregister broker {broker_id} within {timeout_seconds:g} s ({what}): see its log"
            )
        time.sleep(_RETRY_SECONDS)


def error_code(answer: bytes) -> int:
    """The error code of an UnregisterBroker answer, which comes after the throttle time. Raises `ConnectionError` if there is none."""
    try:
        _throttle_ms, error = struct.unpack_from(">ih", answer)
    except struct.error as short:
        raise ConnectionError(f"an answer of {len(answer)} bytes") from short
    return int(error)


def _ask(broker_id: int, port: int) -> int:
    body = struct.pack(">i", broker_id) + b"\0"
    return error_code(ask(HOST, port, _UNREGISTER_BROKER, 0, body, timeout_seconds=_ANSWER_SECONDS))
