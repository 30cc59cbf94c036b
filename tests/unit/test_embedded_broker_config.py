"""The broker's properties."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from eventsource.embedded.broker_config import (
    BrokerAddress,
    broker_properties,
    controller_properties,
    meta_properties,
    new_kafka_uuid,
    render_properties,
)

ONE = [BrokerAddress(1, 9092, 20001)]
THREE = [BrokerAddress(1, 9092, 20001), BrokerAddress(2, 9093, 20002), BrokerAddress(3, 9094, 20003)]


def test_one_broker_holds_every_internal_topic_alone() -> None:
    properties = broker_properties(ONE[0], ONE, Path("/data"))
    for name in (
        "default.replication.factor",
        "min.insync.replicas",
        "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
        "transaction.state.log.min.isr",
    ):
        assert properties[name] == "1", name


def test_three_brokers_replicate_everything_and_need_two() -> None:
    properties = broker_properties(THREE[1], THREE, Path("/data"))
    assert properties["offsets.topic.replication.factor"] == "3"
    assert properties["transaction.state.log.replication.factor"] == "3"
    assert properties["transaction.state.log.min.isr"] == "2"
    assert properties["min.insync.replicas"] == "2"
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:20001,2@127.0.0.1:20002,3@127.0.0.1:20003"
    assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9093"
    assert properties["node.id"] == "2"


def test_servers_listen_on_the_loopback_interface_alone() -> None:
    listeners = broker_properties(THREE[2], THREE, Path("/data"))["listeners"].split(",")
    assert {listener.split("://")[1].split(":")[0] for listener in listeners} == {"127.0.0.1"}


def test_the_only_broker_never_gives_up_what_nobody_else_can_lead() -> None:
    alone, among_others = (
        broker_properties(ONE[0], ONE, Path("/data")),
        broker_properties(THREE[0], THREE, Path("/data")),
    )
    assert alone["controlled.shutdown.enable"] == "false"
    assert int(alone["broker.session.timeout.ms"]) >= 3_600_000
    assert "controlled.shutdown.enable" not in among_others
    assert int(among_others["broker.session.timeout.ms"]) <= 10_000


def test_a_controller_alone_is_the_same_node_on_the_same_folder() -> None:
    broker = broker_properties(ONE[0], ONE, Path("/data"))
    alone = controller_properties(broker)
    assert alone["process.roles"] == "controller"
    assert alone["listeners"] == "CONTROLLER://127.0.0.1:20001"
    assert "advertised.listeners" not in alone
    for name in ("node.id", "log.dirs", "controller.quorum.voters", "controller.listener.names"):
        assert alone[name] == broker[name], name


def test_no_topic_is_created_by_using_it() -> None:
    assert broker_properties(ONE[0], ONE, Path("/data"))["auto.create.topics.enable"] == "false"


def test_overrides_win() -> None:
    properties = broker_properties(ONE[0], ONE, Path("/data"), {"num.io.threads": "1"})
    assert properties["num.io.threads"] == "1"


def test_a_kafka_uuid_is_sixteen_bytes_and_no_option() -> None:
    for _ in range(500):
        text = new_kafka_uuid()
        assert not text.startswith("-")
        assert len(base64.urlsafe_b64decode(text + "==")) == 16


def test_a_formatted_folder_names_its_cluster_and_node() -> None:
    assert meta_properties("c", 2, "d") == "cluster.id=c\ndirectory.id=d\nnode.id=2\nversion=1\n"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_reads_back_from_a_properties_file(value: str) -> None:
    rendered = render_properties({"key": value})
    assert rendered.isascii()
    line = rendered.removesuffix("\n")
    assert "\n" not in line
    assert not line.startswith("key= ")
    # Java's escapes are those of JSON, as far as they are used here.
    assert json.loads('"' + line.removeprefix("key=").replace('"', '\\"') + '"') == value
