"""Fatal errors of librdkafka, at will: by the hook that it has for tests."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka
from confluent_kafka import KafkaError, Producer

OUT_OF_ORDER = KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER


def fail_for_good(producer: Producer, code: int = OUT_OF_ORDER) -> None:
    """Lets a producer meet a fatal error: it is told in the next call that serves its callbacks."""
    (library,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*")
    # The C structure behind a client begins, after the head that every Python object has, with librdkafka's handle.
    handle = ctypes.c_void_p.from_address(id(producer) + object.__basicsize__)
    assert ctypes.CDLL(str(library)).rd_kafka_test_fatal_error(handle, ctypes.c_int(code), b"by a test") == 0
