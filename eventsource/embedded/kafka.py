"""A Kafka cluster of one or three brokers on this machine."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from eventsource.embedded.broker import Broker
from eventsource.embedded.ports import HOST
from eventsource.errors import EmbeddedStackError
from eventsource.log.kafka_clients import KafkaAdmin, KafkaConsumer, KafkaProducer

_ASK_SECONDS = 0.5
_STOP_SECONDS = 20.0
_RETRY_SECONDS = 0.05
_WARMING = "eventsource-embedded-ready"


class KafkaCluster:
    """The brokers together: start, wait until they answer, and the faults that tests inject."""

    def __init__(self, brokers: Sequence[Broker], *, cluster_id: str, start_timeout_seconds: float) -> None:
        self._brokers = {broker.address.node_id: broker for broker in brokers}
        self._cluster_id = cluster_id
        self._start_timeout_seconds = start_timeout_seconds

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"{HOST}:{broker.address.port}" for broker in self._brokers.values())

    @property
    def brokers(self) -> list[Broker]:
        return list(self._brokers.values())

    def broker(self, node_id: int) -> Broker:
        try:
            return self._brokers[node_id]
        except KeyError as error:
            raise EmbeddedStackError(f"there is no broker {node_id}: choose one of {sorted(self._brokers)}") from error

    def launch(self) -> None:
        for broker in self._brokers.values():
            broker.launch()

    def wait_until_ready(self, node_ids: Iterable[int] | None = None) -> None:
        """Returns once this cluster's metadata names a controller and every broker of `node_ids` (all of them, by default).

        Another cluster that answers in its place, having taken a port first, does not count. Raises `EmbeddedStackError` if one of
        those brokers ends, or time is up.
        """
        wanted = set(self._brokers if node_ids is None else node_ids)
        watched = [self._brokers[node_id] for node_id in sorted(wanted)]
        deadline = time.monotonic() + self._start_timeout_seconds
        admin = _admin_client(self.bootstrap_servers)
        while not (_answers(admin, self._cluster_id, wanted) and all(each.server.is_running for each in watched)):
            for broker in watched:
                if not broker.server.is_running:
                    raise broker.server.died()
            if time.monotonic() >= deadline:
                raise watched[0].server.late(self._start_timeout_seconds)

    def warm_up(self) -> None:
        """Returns once the coordinators of groups and transactions answer, which makes their internal topics.

        Otherwise the first transaction would take a second more, and the first consumer of a group four: clients wait long
        between their retries. Raises `EmbeddedStackError` if they do not answer in time.
        """
        deadline = time.monotonic() + self._start_timeout_seconds
        producer = _warming_producer(self.bootstrap_servers)
        consumer = _warming_consumer(self.bootstrap_servers)
        try:
            while not _group_coordinator_answers(consumer):
                if time.monotonic() >= deadline:
                    raise self.brokers[0].server.late(self._start_timeout_seconds)
                time.sleep(_RETRY_SECONDS)
            producer.init_transactions(max(0.1, deadline - time.monotonic()))
        except KafkaException as error:
            raise EmbeddedStackError(
                f"Kafka's coordinators do not answer ({error.args[0].str()}): see {self.brokers[0].server.log}"
            ) from error
        finally:
            consumer.close()

    def stop(self) -> None:
        """Ends every broker, all at once: each leaves in order as long as the others hold the quorum."""
        for broker in self._brokers.values():
            broker.server.ask_to_stop()
        for broker in self._brokers.values():
            broker.server.stop(_STOP_SECONDS)

    def kill(self, node_id: int, number: int) -> None:
        """Ends one broker with this signal and waits until it is gone."""
        broker = self.broker(node_id)
        if not broker.server.is_running:
            raise EmbeddedStackError(f"{broker.server.name} does not run: start it first")
        broker.server.stop(_STOP_SECONDS, stop_signal=number)

    def start_broker(self, node_id: int) -> None:
        """Starts one broker again and waits until the cluster knows it, and all others that run."""
        broker = self.broker(node_id)
        broker.launch()
        running = [each.address.node_id for each in self.brokers if each.server.is_running]
        # Without a majority of controllers there is nobody to register with: the next one to start completes it.
        if len(running) * 2 > len(self._brokers):
            self.wait_until_ready(running)

    def pause(self, node_id: int) -> None:
        self.broker(node_id).server.send(signal.SIGSTOP)

    def resume(self, node_id: int) -> None:
        self.broker(node_id).server.send(signal.SIGCONT)


def _client_config(bootstrap_servers: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap_servers,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 200,
        "retry.backoff.ms": 50,
        "socket.timeout.ms": 5000,
        "client.id": "eventsource-embedded",
    }


def _silent() -> logging.Logger:
    """While the broker boots every attempt is refused: that is no news."""
    return logging.Logger("eventsource.embedded.silent", logging.CRITICAL + 1)


def _admin_client(bootstrap_servers: str) -> Any:
    return KafkaAdmin(_client_config(bootstrap_servers), logger=_silent())


def _warming_producer(bootstrap_servers: str) -> Any:
    return KafkaProducer({**_client_config(bootstrap_servers), "transactional.id": _WARMING}, logger=_silent())


def _answers(admin: Any, cluster_id: str, wanted: set[int]) -> bool:
    started = time.monotonic()
    try:
        metadata = admin.list_topics(timeout=_ASK_SECONDS)
    except KafkaException:
        metadata = None
    if (
        metadata is not None
        and metadata.cluster_id == cluster_id
        and wanted <= set(metadata.brokers)
        and metadata.controller_id in metadata.brokers
    ):
        return True
    # An answer that comes at once but is not yet complete must not make this a busy loop.
    time.sleep(max(0.0, _RETRY_SECONDS - (time.monotonic() - started)))
    return False


def _warming_consumer(bootstrap_servers: str) -> Any:
    return KafkaConsumer({**_client_config(bootstrap_servers), "group.id": _WARMING}, logger=_silent())


def _group_coordinator_answers(consumer: Any) -> bool:
    # Not Admin's describe_consumer_groups: librdkafka 2.16 aborts the process if it times out looking for a coordinator.
    try:
        consumer.committed([TopicPartition(_WARMING, 0)], timeout=_ASK_SECONDS)
    except KafkaException:
        return False
    return True
