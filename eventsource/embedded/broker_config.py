"""The broker's properties: one source for one broker and for three."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eventsource.embedded.ports import HOST

_AMONG_OTHERS: Final[Mapping[str, str]] = {
    # A killed broker may register again only once its old session ended: 9 s by default, at each start after a crash.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
}
# To give up the leadership of a partition that nobody else can lead serves nobody, and a coordinator of transactions that still
# runs then completes them without their markers (KAFKA-20734). A shutdown of the only broker must not do so, nor must a broker
# that did not run for a while (a suspended machine, SIGSTOP) be fenced by the controller in its own process.
_ALONE: Final[Mapping[str, str]] = {
    "controlled.shutdown.enable": "false",
    "broker.session.timeout.ms": str(24 * 60 * 60 * 1_000),
    "broker.heartbeat.interval.ms": "500",
}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Node ids count from 1. Both ports are on the loopback interface."""

    node_id: int
    port: int
    controller_port: int


def new_kafka_uuid() -> str:
    """A random UUID in Kafka's form: URL-safe base64 without padding, never beginning with a hyphen."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def render_properties(properties: Mapping[str, str]) -> str:
    """The text of a Java properties file: Latin-1 to Java, so that all but ASCII is escaped, in UTF-16 units."""
    return "".join(f"{key}={_escaped(value)}\n" for key, value in properties.items())


def _escaped(value: str) -> str:
    units = value.encode("utf-16-be")
    codes = [int.from_bytes(units[index : index + 2]) for index in range(0, len(units), 2)]
    return "".join(_escaped_unit(code, first=index == 0) for index, code in enumerate(codes))


def _escaped_unit(code: int, *, first: bool) -> str:
    if code == ord("\\"):
        return "\\\\"
    # Java skips the blanks before a value.
    if code > 126 or code < 32 or (first and code == ord(" ")):
        return f"\\u{code:04x}"
    return chr(code)


def meta_properties(cluster_id: str, node_id: int, directory_id: str) -> str:
    """The content of `meta.properties`, by which a log folder counts as formatted."""
    return render_properties(
        {"cluster.id": cluster_id, "directory.id": directory_id, "node.id": str(node_id), "version": "1"}
    )


def controller_properties(broker: Mapping[str, str]) -> dict[str, str]:
    """The properties of the same node as a controller alone, given those of broker and controller."""
    listeners = [each for each in broker["listeners"].split(",") if each.startswith("CONTROLLER:")]
    without = ("advertised.listeners", "inter.broker.listener.name")
    kept = {name: value for name, value in broker.items() if name not in without}
    return {**kept, "process.roles": "controller", "listeners": ",".join(listeners)}


def broker_properties(
    address: BrokerAddress,
    cluster: Sequence[BrokerAddress],
    log_dir: Path,
    overrides: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The `server.properties` of one combined broker and controller of `cluster`. `overrides` win."""
    replicas = str(len(cluster))
    in_sync = "2" if len(cluster) >= 3 else "1"
    voters = ",".join(f"{each.node_id}@{HOST}:{each.controller_port}" for each in cluster)
    return {
        "process.roles": "broker,controller",
        "node.id": str(address.node_id),
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{HOST}:{address.port},CONTROLLER://{HOST}:{address.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{address.port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(log_dir),
        # A topic that nobody created on purpose has the wrong partitions and retention.
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "unclean.leader.election.enable": "false",
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": "1",
        # A dead worker's transaction is aborted within a second of its time-out, not ten.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        # Kafka's default of a week: what must stay says so itself (events and outcomes have retention.ms=-1).
        "log.retention.hours": "168",
        # An offset forgotten makes a consumer stop (auto.offset.reset=error): a project left alone for a month carries on.
        "offsets.retention.minutes": str(365 * 24 * 60),
        **(_ALONE if len(cluster) == 1 else _AMONG_OTHERS),
        # How long a broker waits for a controller that hangs before it asks the next: 30 s by default.
        "controller.socket.timeout.ms": "5000",
        "group.initial.rebalance.delay.ms": "0",
        "group.coordinator.rebalance.protocols": "classic,consumer",
        # The floors are low for tests that wait until a member counts as dead; the defaults stay those of the broker.
        "group.min.session.timeout.ms": "1000",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.min.heartbeat.interval.ms": "300",
        # Sized for a laptop: the cleaner's default buffer alone is 128 MB of heap.
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        "log.segment.bytes": str(256 * 1024 * 1024),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "4",
        **(overrides or {}),
    }
