"""Ending transactions whose markers Kafka lost, as their coordinator decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from eventsource.app import App
from eventsource.clock import Clock, SystemClock
from eventsource.doctor.facts import Decision, Hanging
from eventsource.doctor.probes import Probes
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.markers import OpenTransaction, open_transactions, takes_plain_text, write_marker
from eventsource.settings import Settings


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

    def find() -> Iterable[Hanging]:
        with Probes(app, settings, clock if clock is not None else SystemClock()) as probes:
            return probes.of_the_log(probes.at_start(for_owners=True, production=None)).hanging.get()

    with LogAdmin(config, request_timeout_seconds=settings.kafka.request_timeout_seconds) as admin:

        def end(found: Hanging) -> str | None:
            reason = _reason(found)
            if reason is None and not takes_plain_text(config):
                reason = "the brokers do not take plain text: use `kafka-transactions.sh`, as docs/doctor.md says"
            return _end(admin, found) if reason is None else reason

        yield from end_each(find, end)


def end_each(find: Callable[[], Iterable[Hanging]], end: Callable[[Hanging], str | None]) -> Iterator[Ended]:
    """Ends what is found until a search finds nothing new to end: each finds the oldest open transaction of a partition alone."""
    seen: set[tuple[TopicAndPartition, int]] = set()
    progress = True
    while progress:
        progress = False
        for found in find():
            if (found.where, found.offset) in seen:
                continue
            seen.add((found.where, found.offset))
            reason = end(found)
            progress = progress or reason is None
            yield Ended(found, reason)


def _reason(found: Hanging) -> str | None:
    if found.decision is Decision.UNKNOWN:
        return f"what was decided about it is not known ({found.unknown_because})"
    if found.decision is Decision.NONE:
        return "nothing was decided about it: start a worker, which ends it"
    if found.producer_id is None:
        return "its producer is not known: its leader could not be asked (see the log)"
    if not found.completed:
        return "its coordinator is at it still: see the brokers' logs"
    return None


def _end(admin: LogAdmin, found: Hanging) -> str | None:
    """Writes the marker. Returns why it was not written."""
    leader = admin.leader(found.where)
    transaction = find_meant(found, open_transactions(leader, found.where))
    if transaction is None:
        return (
            f"its leader knows no transaction of producer {found.producer_id} with epoch {found.producer_epoch} at that offset: it has "
            "ended meanwhile, or ask again"
        )
    write_marker(leader, found.where, transaction, commit=found.decision is Decision.COMMIT)
    return None


def find_meant(found: Hanging, there: Iterable[OpenTransaction]) -> OpenTransaction | None:
    """The open transaction that was judged: by first offset, producer and epoch."""
    judged = (found.offset, found.producer_id, found.producer_epoch)
    return next((each for each in there if (each.first_offset, each.producer_id, each.producer_epoch) == judged), None)
