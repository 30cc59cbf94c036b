"""The clients of confluent_kafka that everything here uses: a forked child never destroys those of its parent.

To make one raises `SettingsError` for settings that librdkafka does not take.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from eventsource.forks import keep_in_children
from eventsource.log.kafka_errors import settings_refused

_LOGGER: Final = logging.getLogger("eventsource.kafka.librdkafka")
"""What librdkafka would print on stderr is logged here, whenever its client is polled."""


@contextmanager
def settings_taken() -> Iterator[None]:
    """Where a client is made. Raises `SettingsError` for settings that librdkafka does not take."""
    try:
        yield
    except KafkaException as error:
        raise settings_refused(error.args[0]) from error


class KafkaProducer(Producer):
    """A `Producer`."""

    __slots__ = ("__weakref__",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        keep_in_children(self)
        with settings_taken():
            super().__init__(*arguments, **{"logger": _LOGGER, **named})


class KafkaConsumer(Consumer):
    """A `Consumer`. Closing one in a forked child does nothing: it is the parent's."""

    __slots__ = ("__weakref__", "_process_id")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._process_id = os.getpid()
        keep_in_children(self)
        with settings_taken():
            super().__init__(*arguments, **{"logger": _LOGGER, **named})

    def close(self) -> None:
        """Leaves the group and closes all connections."""
        if os.getpid() == self._process_id:
            super().close()


class KafkaAdmin(AdminClient):
    """An `AdminClient`. It has no `close`: it ends with the last reference to it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        keep_in_children(self)
        with settings_taken():
            super().__init__(*arguments, **{"logger": _LOGGER, **named})
