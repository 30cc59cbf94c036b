"""Why no broker can be reached, as librdkafka reports it."""

from __future__ import annotations

import re
from typing import Final

from confluent_kafka import KafkaError

from eventsource.log.kafka_errors import FORBIDDEN

_STATE: Final = re.compile(r" \(after \d+ms in state ([A-Z_]+).*\)$")
_HANDSHAKE: Final = "SSL_HANDSHAKE"
_CLOSED: Final = (
    "the connection was closed without an answer, as by a listener that requires TLS or SASL where "
    "security.protocol says neither"
)


class ConnectionErrors:
    """A client's `error_cb`: keeps the reason for which the brokers cannot be reached. Safe to share between threads."""

    def __init__(self) -> None:
        self._reason = ""
        self._telling = False
        self.has_answered = False
        self.all_down = False
        self.denied = False

    def __call__(self, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError._ALL_BROKERS_DOWN:
            self.all_down = True
            return
        text = str(error.str())
        state = _STATE.search(text)
        in_handshake = state is not None and state.group(1) == _HANDSHAKE
        # Once a handshake or a login has failed, the disconnections that follow say less.
        telling = code != KafkaError._TRANSPORT or in_handshake
        if telling or not self._telling:
            reason = _STATE.sub("", text)
            # A peer that resets the connection in the middle of it is reported as a mere disconnection.
            if in_handshake and "handshake failed" not in reason:
                reason = f"SSL handshake failed: {reason}: connecting to a PLAINTEXT broker listener?"
            self._reason = reason
            self._telling = telling
            self.denied = code in FORBIDDEN

    @property
    def reason(self) -> str:
        """The reason; empty while nothing was reported."""
        return self._reason or (_CLOSED if self.all_down and not self.has_answered else "")

    def answered(self) -> None:
        """A broker has answered: what was reported before says nothing of later, and the settings are right."""
        if not self.has_answered or self._reason or self.all_down:
            self.has_answered = True
            self.clear()

    def clear(self) -> None:
        """Forgets what was reported."""
        self._reason, self._telling, self.all_down, self.denied = "", False, False, False
