"""Ending transactions whose markers Kafka lost, as their coordinator decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eventsource.app import App
from eventsource.clock import Clock, SystemClock
from eventsource.doctor.facts import Decision, Hanging
from eventsource.doctor.probes import Probes
from eventsource.log.admin import LogAdmin
from eventsource.log.markers import open_transactions, write_marker
from eventsource.settings import Settings

_PLAIN = "plaintext"


@dataclass(frozen=True, slots=True)
class Ended:
    """A hanging transaction, and why it was left alone; None: its marker was written, as `hanging.decision` says."""

    hanging: Hanging
    left_because: str | None = None

    def __str__(self) -> str:
        topic, number = self.hanging.where
        place = f"{topic}[{number}] at offset {self.hanging.offset}"
        if self.left_because is None:
            return f"{place}: ended as the {self.hanging.decision} that was decided on"
        return f"{place}: left alone, since {self.left_because}"


def end_hanging(app: App, settings: Settings, *, clock: Clock | None = None) -> Iterator[Ended]:
    """Writes the missing marker of every transaction that is over for its coordinator. Raises `LogError`.

    What was not decided on is left to the next owner, and what is not known to people: a wrong marker would lose what was answered
    for. It takes listeners in plain text, without authentication.
    """
    config = settings.kafka.client_config()
    with Probes(app, settings, clock if clock is not None else SystemClock()) as probes:
        facts = probes.of_the_log(probes.at_start(for_owners=True, production=None))
    with LogAdmin(config, request_timeout_seconds=settings.kafka.request_timeout_seconds) as admin:
        for found in facts.hanging.get():
            reason = _reason(found)
            if reason is None and str(config.get("security.protocol", _PLAIN)).lower() != _PLAIN:
                reason = "the brokers do not take plain text: use `kafka-transactions.sh`, as docs/doctor.md says"
            yield Ended(found, _end(admin, found) if reason is None else reason)


def _reason(found: Hanging) -> str | None:
    if found.decision is Decision.UNKNOWN:
        return f"what was decided about it is not known ({found.unknown_because})"
    if found.decision is Decision.NONE:
        return "nothing was decided about it: start a worker, which ends it"
    if not found.completed:
        return "its coordinator is at it still: see the brokers' logs"
    return None


def _end(admin: LogAdmin, found: Hanging) -> str | None:
    """Writes the marker. Returns why it was not written, where the leader knows another transaction at that offset."""
    leader = admin.leader(found.where)
    for transaction in open_transactions(leader, found.where):
        if transaction.first_offset == found.offset and transaction.producer_id == found.producer_id:
            write_marker(leader, found.where, transaction, commit=found.decision is Decision.COMMIT)
            return None
    return f"its leader knows no transaction of producer {found.producer_id} at that offset: it has ended meanwhile, or ask again"
