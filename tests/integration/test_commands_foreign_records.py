"""Foreign records in a real events topic: their owner lives, their aggregate is stopped, and the doctor names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from eventsource.doctor.facts import Owned
from eventsource.doctor.history import replay_partitions
from eventsource.errors import HandlerFailed
from eventsource.log.partitioner import partition_for
from eventsource.log.topics import apply
from eventsource.settings import ClientSettings, KafkaSettings, Settings, WorkerSettings
from tests.integration.client.accounts import APP, PARTITIONS, Account, Deposit, Open
from tests.integration.command_threads import WorkerThread


@pytest.fixture
def settings(eventsource_stack: Any, eventsource_namespace: str, tmp_path: Path) -> Settings:
    made = Settings(
        _env_file=None,
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        client=ClientSettings(timeout_seconds=60),
        worker=WorkerSettings(state_dir=tmp_path / "stores"),
    )
    apply(APP, made)
    return made


def ids_in(partition: int) -> list[str]:
    return [id_ for id_ in map(str, range(40)) if partition_for(id_.encode(), PARTITIONS) == partition]


def test_an_owner_gets_past_them(settings: Settings) -> None:
    names = APP.names(settings.namespace)
    first, other = ids_in(0), ids_in(1)
    with APP.connect(settings) as client:
        with WorkerThread(APP, Account, settings):
            for id_ in (first[0], first[1], other[0]):
                client.send(Account, id_, Open(owner="Ada"))
        producer = Producer(settings.kafka.client_config())
        for topic in (names.events("account"), names.outcomes("account")):
            for value in (b"garbage", None, b"\xc3\x01" + bytes(20)):
                producer.produce(topic, value, first[0].encode(), 0, headers=[("es", b"\x01"), ("ce_id", None)])
        producer.produce(names.events("account"), b"no key", None, 1)
        assert producer.flush(30) == 0
        with WorkerThread(APP, Account, settings):
            assert client.send(Account, first[1], Deposit(amount=1)).version == 2
            assert client.load(Account, first[1], at_version=2).version == 2
            for stopped in (first[0], other[0]):
                with pytest.raises(HandlerFailed, match="is stopped"):
                    client.send(Account, stopped, Deposit(amount=1))
    histories = replay_partitions(APP, settings, (_owned(settings),), lambda _: None)
    assert [len(history.foreign) for history in histories] == [6, 1]
    assert all("account" in place for history in histories for place, _ in history.foreign)


def _owned(settings: Settings) -> Owned:
    names = APP.names(settings.namespace)
    return Owned(
        aggregate="account",
        partitions=PARTITIONS,
        commands=names.commands("account"),
        events=names.events("account"),
        outcomes=names.outcomes("account"),
        group=names.owners("account"),
        dead_letters=names.dead_letters("account"),
        window_ms=None,
    )
