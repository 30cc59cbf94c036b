from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventsource
from eventsource.errors import LogError, SettingsError
from eventsource.log.admin import LogAdmin
from eventsource.log.kafka_clients import KafkaAdmin, KafkaConsumer, KafkaProducer
from eventsource.log.record_consumer import record_consumer

NOWHERE: dict[str, Any] = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "error_cb": lambda error: None}
ROOT = Path(eventsource.__file__).parents[1]


@pytest.mark.parametrize(
    "make",
    [
        KafkaProducer,
        lambda config: KafkaConsumer({**config, "group.id": "none"}),
        KafkaAdmin,
        LogAdmin,
        lambda config: record_consumer({**config, "group.id": "none"}),
    ],
    ids=["producer", "consumer", "admin", "log admin", "record consumer"],
)
def test_a_setting_that_librdkafka_does_not_take_is_a_wrong_setting(make: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(SettingsError, match=r"sasl\.pasword") as caught:
        make({**NOWHERE, "sasl.pasword": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_an_admin_client_ends_when_its_owner_closes_it_and_not_when_the_collector_runs() -> None:
    gc.disable()
    try:
        admin = LogAdmin(NOWHERE)
        view = admin.within(1.0)
        handle = weakref.ref(admin._client)
        view.close()
        assert handle() is not None
        admin.close()
        admin.close()
        assert handle() is None
    finally:
        gc.enable()
    with pytest.raises(LogError, match="closed"):
        admin.broker_ids()


def test_an_admin_client_that_nobody_refers_to_ends_without_the_collector() -> None:
    gc.disable()
    try:
        admin = LogAdmin(NOWHERE)
        handle = weakref.ref(admin._client)
        del admin
        assert handle() is None
    finally:
        gc.enable()


def test_every_client_is_one_that_a_forked_child_leaves_alone() -> None:
    made = re.compile(r"(?<![\w.])(Producer|Consumer|AdminClient|Rdict)\(")
    allowed = {"eventsource/log/kafka_clients.py", "eventsource/commands/state_store.py"}
    found = {
        str(file.relative_to(ROOT))
        for package in ("eventsource", "projections", "sagas", "examples")
        for file in (ROOT / package).rglob("*.py")
        if made.search(file.read_text())
    }
    assert found <= allowed
