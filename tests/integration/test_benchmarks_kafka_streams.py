"""The Kafka Streams peer does the framework's job: the same commands in, events with the same headers and replies out.

Runs where `make bench` has compiled the peer before: a test downloads nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.account import PARTITIONS, Account, bench
from benchmarks.backlog import account_id, write_backlog
from benchmarks.handled import HandledCommands
from benchmarks.kafka_streams import KafkaStreams
from benchmarks.servers import Servers
from eventsource.commands.reply import Reply
from eventsource.log.admin import LogAdmin
from eventsource.log.header_reading import read_event_headers
from eventsource.log.headers import event_headers
from eventsource.log.reader import LogReader
from eventsource.log.record import Record
from eventsource.log.topics import REPLY_PARTITIONS
from eventsource.testing.stack import SessionStack

COMMANDS = 500
ACCOUNTS = 10

pytestmark = pytest.mark.skipif(
    not KafkaStreams.is_built() or shutil.which("java") is None, reason="the peer is not compiled: run make bench"
)


def read_all(config: Mapping[str, Any], topic: str, partitions: int) -> list[Record]:
    places = [(topic, partition) for partition in range(partitions)]
    ends = LogAdmin(config).end_offsets(places)
    records: list[Record] = []
    with LogReader(config) as reader:
        reader.assign(dict.fromkeys(places, 0))
        while any(reader.position(*place) < end for place, end in ends.items() if end > 0):
            records += reader.read(1_000, 0.5)
    return records


def test_the_peer_writes_one_event_and_one_reply_for_each_command(
    eventsource_stack: SessionStack, eventsource_namespace: str
) -> None:
    servers = Servers(eventsource_stack.bootstrap_servers, eventsource_stack.postgres_url)
    config = servers.make_topics(eventsource_namespace).kafka.client_config()
    write_backlog(servers.environment(eventsource_namespace), COMMANDS, ACCOUNTS)
    commands = bench.names(eventsource_namespace).commands(Account.__definition__.name)
    with KafkaStreams.build().running(servers, eventsource_namespace) as (child, group):
        handled = HandledCommands(servers.bootstrap_servers, commands, PARTITIONS, group)
        assert handled.watch(COMMANDS, child)[-1].handled == COMMANDS
    events = read_all(config, f"{group}.events", PARTITIONS)
    assert len(events) == COMMANDS
    versions: dict[bytes, int] = {}
    topic_id = LogAdmin(config).topic_ids([commands])[commands]
    for event in events:
        headers = read_event_headers(event.headers)
        versions[event.key] = versions.get(event.key, 0) + 1
        assert headers.version == versions[event.key]
        assert headers.origin.topic_id == topic_id
        ours = event_headers(headers)
        assert [(name, len(value)) for name, value in event.headers if value is not None] == [
            (name, len(value)) for name, value in ours
        ]
    assert versions == {account_id(number).encode(): COMMANDS // ACCOUNTS for number in range(ACCOUNTS)}
    replies = read_all(config, f"{group}.replies", REPLY_PARTITIONS)
    ids = {read_event_headers(event.headers).command_id.encode() for event in events}
    answered = [reply for record in replies for reply in Reply.decode_all(record.value or b"")]
    assert sorted(reply.command_id.encode() for reply in answered) == sorted(ids)
