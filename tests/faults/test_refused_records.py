"""Records that cannot be written, because they are too large or too many: their command fails, and nothing else in its batch."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from eventsource.domain import Command
from eventsource.errors import HandlerFailed
from eventsource.settings import Settings
from tests.faults.ledger import Account, Deposit, Note, Open, Save, ledger
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults

LIMIT = 10_000
# No producer can compress it to less than the limit.
TOO_LARGE = Note(text=Random(0).randbytes(2 * LIMIT).hex())
TOO_MANY = Note(text="x", times=50)


def limit_events(settings: Settings) -> Settings:
    """By the framework's own limit."""
    return settings.model_copy(update={"worker": settings.worker.model_copy(update={"max_event_bytes": LIMIT})})


def limit_topic(settings: Settings) -> Settings:
    """By the topic's limit, which the broker alone knows."""
    topic = ledger.names(settings.namespace).events("account")
    limit = ConfigEntry("max.message.bytes", str(LIMIT), incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient(settings.kafka.client_config())
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[limit])
    admin.incremental_alter_configs([resource])[resource].result(10)
    return settings


def limit_client(settings: Settings) -> Settings:
    """By librdkafka's limit, which it raises at once."""
    return with_client(settings, "message.max.bytes", str(LIMIT))


def limit_queue(settings: Settings) -> Settings:
    """By the room in the producer's queue."""
    return with_client(settings, "queue.buffering.max.messages", "20")


def with_client(settings: Settings, name: str, value: str) -> Settings:
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"client": {name: value}})})


@pytest.mark.parametrize(
    ("limit", "command"),
    [(limit_events, TOO_LARGE), (limit_topic, TOO_LARGE), (limit_client, TOO_LARGE), (limit_queue, TOO_MANY)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_record_that_cannot_be_written_fails_its_command_alone(
    rig: Rig, limit: Callable[[Settings], Settings], command: Command
) -> None:
    settings = limit(rig.settings)
    # There before the worker is: they become batches as large as they can.
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"batch_size": 500})})
    ids = [f"a{number}" for number in range(10)]
    bad = rig.rng.sample(ids, 3)
    with rig.connect() as client:
        good = [client.submit(Account, id_, each) for id_ in ids for each in (Open(owner="client"), Deposit(amount=10))]
        refused = [client.submit(Account, id_, command) for id_ in bad]
        good += [client.submit(Account, id_, Save(amount=3)) for id_ in ids]
        rig.start(settings=settings)
        assert {pending.result().version for pending in good} == {1, 2, 4}
        for pending in refused:
            with pytest.raises(HandlerFailed) as failed:
                pending.result()
            assert failed.value.error == "MessageTooLarge"
        assert [client.send(Account, id_, Deposit(amount=1)).version for id_ in ids] == [5] * len(ids)
    rig.check()
