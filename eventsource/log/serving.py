"""Serving a client's callbacks: `poll`, `flush` and `consume` that raise a fatal error in one form.

librdkafka's binding raises a fatal error out of whatever call serves its callbacks: as `KafkaException`; or, where another callback
follows in that call, as a `SystemError`, or as the `KafkaError` itself. That is no `BaseException`: no `except` with a name
catches it, and the thread ends of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer

P = ParamSpec("P")
T = TypeVar("T")


def poll(producer: Producer, timeout_seconds: float = 0.0) -> int:
    """As `Producer.poll`. Raises `KafkaException` for a fatal error, and what a callback raised."""
    return served(producer.poll, timeout_seconds)


def flush(producer: Producer, timeout_seconds: float) -> int:
    """As `Producer.flush`: how many records are left. Raises as `poll`."""
    return served(producer.flush, timeout_seconds)


def served(call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What a call gives that serves a client's callbacks. Raises `KafkaException` for a fatal error, and what a callback raised."""
    try:
        return call(*arguments, **named)
    except SystemError as error:
        raise _translated(error) from error
    except BaseException:
        raise
    except:  # noqa: E722 - what has no name among exceptions
        raise _raw() from None


def is_fatal(error: KafkaException) -> bool:
    """Whether the client that raised it is of no use any more."""
    kafka_error = error.args[0]
    return bool(kafka_error.fatal()) or kafka_error.code() == KafkaError._FATAL


def _raw() -> KafkaException:
    return KafkaException(sys.exc_info()[1])


def _translated(error: SystemError) -> KafkaException:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KafkaException):
        cause = cause.__cause__ or cause.__context__
    return cause or KafkaException(KafkaError(KafkaError._FATAL, str(error), True))
