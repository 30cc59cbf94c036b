"""Auditing the log itself, without any read model: is every account's history whole, and did every command act once?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from eventsource.app import App
from eventsource.errors import BrokerUnavailable, ForkDetected
from eventsource.log.admin import LogAdmin
from eventsource.log.events import EventDecoder, SequenceCheck
from eventsource.log.reader import LogReader
from eventsource.log.recorded import Recorded
from eventsource.schemas import KafkaSchemaStore
from eventsource.settings import Settings
from examples.bank.domain import Account

_BATCH: Final = 5_000
_READ_SECONDS: Final = 0.25
_SILENT_READS: Final = 40


@dataclass(slots=True)
class Audit:
    """What the events topic holds. `versions` is each account's newest version, which is the number of its events."""

    events: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    command_ids: set[str] = field(default_factory=set)


def audit(app: App, settings: Settings) -> Audit:
    """Reads every event of every account, from the first to the last that is committed now.

    Raises `ForkDetected` unless each account's versions are 1…n without gap or repeat, in one partition, and each command's
    events are there once and completely; `BrokerUnavailable` when the log cannot be read to its end.
    """
    found = Audit()
    checks: dict[int, SequenceCheck] = {}
    partitions: dict[str, int] = {}
    effects: dict[str, int] = {}
    for recorded in _events(app, settings):
        checks.setdefault(recorded.partition, SequenceCheck(complete=True)).check(recorded)
        if partitions.setdefault(recorded.id, recorded.partition) != recorded.partition:
            raise ForkDetected(
                f"account {recorded.id} has events in partitions {partitions[recorded.id]} and {recorded.partition}"
            )
        effects[recorded.command_id] = done = effects.get(recorded.command_id, 0) + 1
        if recorded.index != done or done > recorded.count:
            raise ForkDetected(
                f"command {recorded.command_id}: event {recorded.index} of {recorded.count} is number {done} of those in the log"
            )
        if done == recorded.count:
            found.command_ids.add(recorded.command_id)
        found.events += 1
        found.versions[recorded.id] = recorded.version
    incomplete = effects.keys() - found.command_ids
    if incomplete:
        raise ForkDetected(f"the events of {len(incomplete)} commands are not all there, of {min(incomplete)} for one")
    return found


def _events(app: App, settings: Settings) -> Iterator[Recorded]:
    kafka = settings.kafka
    names = app.names(settings.namespace)
    topic = names.events(Account.__definition__.name)
    partitions = [(topic, number) for number in range(app.partitions_of(Account))]
    admin = LogAdmin(kafka.client_config(), request_timeout_seconds=kafka.request_timeout_seconds)
    ends = {partition: end for partition, end in admin.end_offsets(partitions, committed_only=True).items() if end > 0}
    silent = 0
    with (
        closing(KafkaSchemaStore(names.schemas, kafka.client_config())) as schemas,
        LogReader(kafka.client_config()) as reader,
    ):
        decoder = EventDecoder(Account, schemas)
        reader.assign(dict.fromkeys(ends, 0))
        # The position, not the last record: the ends of transactions take offsets too.
        while any(reader.position(*partition) < end for partition, end in ends.items()):
            records = reader.read(_BATCH, _READ_SECONDS)
            silent = 0 if records else silent + 1
            if silent > _SILENT_READS:
                raise BrokerUnavailable(f"{topic} could not be read to its end: check the broker, then audit again")
            for record in records:
                if record.offset < ends[record.topic, record.partition]:
                    yield decoder.decode(record)
