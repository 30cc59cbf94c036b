"""What the tests of the read side share: a log that is written by hand, and projections run in threads."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from eventsource.app import App
from eventsource.clock import SystemClock
from eventsource.consuming.definition import ConsumerContext
from eventsource.domain import Event
from eventsource.log.admin import LogAdmin
from eventsource.log.events import EventDecoder
from eventsource.log.headers import EventHeaders, Origin, event_headers
from eventsource.log.partitioner import partition_for
from eventsource.log.token import Token
from eventsource.log.topics import apply
from eventsource.schemas import KafkaSchemaStore
from eventsource.settings import KafkaSettings, PostgresSettings, Settings

if TYPE_CHECKING:
    from eventsource.testing.stack import SessionStack

APP_FILE = Path(__file__).with_name("bank_app.py")


def _load_app() -> Any:
    spec = importlib.util.spec_from_file_location("bank_app", APP_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bank_app"] = module
    spec.loader.exec_module(module)
    return module


_bank = _load_app()


def eventually(check: Callable[[], Any], timeout_seconds: float = 20.0) -> Any:
    """The first truthy result of `check`."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_seconds} s")
        time.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def settings(eventsource_stack: SessionStack, eventsource_namespace: str) -> Settings:
    return Settings(
        namespace=eventsource_namespace,
        kafka=KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers),
        postgres=PostgresSettings(url=eventsource_stack.postgres_url),
    )


class WrittenLog:
    """Events topics written by hand, as the partition owners would, each call one transaction."""

    def __init__(self, app: App, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.names = app.names(settings.namespace)
        self.schemas = KafkaSchemaStore(self.names.schemas, settings.kafka.client_config())
        self.admin = LogAdmin(settings.kafka.client_config())
        self.facts: list[tuple[str, Event]] = []
        self.versions: dict[tuple[str, str], int] = defaultdict(int)
        self._decoders = {name: EventDecoder(cls, self.schemas) for name, cls in app.aggregates.items()}
        self._producer = Producer(
            {
                **settings.kafka.client_config(),
                "transactional.id": f"test-{uuid.uuid4()}",
                "linger.ms": 1,
                "retry.backoff.ms": 1,
            }
        )
        self._producer.init_transactions()

    def partition(self, aggregate_id: str, aggregate: str = "account") -> int:
        return partition_for(aggregate_id.encode(), self.app.partitions_of(self.app.aggregates[aggregate]))

    def write(
        self, *facts: tuple[str, Event], aggregate: str = "account", abort: bool = False, type_name: str | None = None
    ) -> list[Token]:
        """Writes (aggregate id, event) in one transaction, and returns the token of each."""
        topic = self.names.events(aggregate)
        decoder = self._decoders[aggregate]
        placed: dict[int, int] = {}
        before = dict(self.versions)
        self._producer.begin_transaction()
        for index, (aggregate_id, event) in enumerate(facts):
            self.versions[aggregate, aggregate_id] += 1
            self._producer.produce(
                topic,
                key=aggregate_id.encode(),
                value=decoder.codec(type(event)).encode(event),
                partition=self.partition(aggregate_id, aggregate),
                headers=event_headers(self._headers(aggregate, aggregate_id, event, type_name)),
                on_delivery=lambda error, message, index=index: placed.__setitem__(index, message.offset()),
            )
            self._producer.poll(0)
        if abort:
            self._producer.flush()
            self._producer.abort_transaction()
            self.versions = defaultdict(int, before)
            return []
        self._producer.commit_transaction()
        self.facts.extend(facts)
        topic_id = self.admin.topic_ids([topic])[topic]
        return [
            Token(
                topic_id,
                self.partition(aggregate_id, aggregate),
                placed[index],
                aggregate_id,
                self.versions[aggregate, aggregate_id],
            )
            for index, (aggregate_id, _) in enumerate(facts)
        ]

    def _headers(self, aggregate: str, aggregate_id: str, event: Event, type_name: str | None) -> EventHeaders:
        return EventHeaders(
            command_id=str(uuid.uuid4()),
            index=1,
            count=1,
            type=type_name or event.message_name,
            revision=event.message_revision,
            source=self.names.prefix,
            version=self.versions[aggregate, aggregate_id],
            origin=Origin(bytes(16), 0, 0),
            time_ms=1_700_000_000_000 + len(self.facts),
            body_hash=bytes(8),
        )

    def make_anew(self, topic: str) -> None:
        """Deletes a topic, and makes another of its name."""
        client = AdminClient(self.settings.kafka.client_config())
        client.delete_topics([topic])[topic].result(10)
        eventually(lambda: topic not in client.list_topics(timeout=10).topics)
        client.create_topics([NewTopic(topic, num_partitions=4, replication_factor=1)])[topic].result(10)
        eventually(lambda: self.admin.topic_ids([topic]))

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Deletes the records below an offset."""
        client, place = AdminClient(self.settings.kafka.client_config()), TopicPartition(topic, partition, offset)
        client.delete_records([place])[place].result(10)

    def close(self) -> None:
        self.schemas.close()


@pytest.fixture
def log(settings: Settings) -> Iterator[WrittenLog]:
    apply(_bank.bank, settings)
    written = WrittenLog(_bank.bank, settings)
    yield written
    written.close()


class Running:
    """A projection at work in a thread."""

    def __init__(self, projection: Any, app: App, settings: Settings) -> None:
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.schemas = KafkaSchemaStore(app.names(settings.namespace).schemas, settings.kafka.client_config())
        self.runner = projection.runner(ConsumerContext(app, settings, self.schemas, SystemClock()))
        self.thread = threading.Thread(target=self._run, name=f"test {projection.consumer_name}")
        self.thread.start()

    def owned(self) -> frozenset[tuple[str, int]]:
        """The partitions that are its own."""
        membership = self.runner._membership
        return membership.owned().partitions if membership is not None else frozenset()

    def _run(self) -> None:
        try:
            self.runner.run(self.stop)
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            self.error = error

    def close(self) -> None:
        self.stop.set()
        self.thread.join(30)
        self.schemas.close()
        assert not self.thread.is_alive()


@pytest.fixture
def run(settings: Settings) -> Iterator[Callable[..., Running]]:
    """Starts projections, and stops them after the test. What one died of is raised unless the test looked at it."""
    with contextlib.ExitStack() as stack:

        def start(projection: Any, app: App | None = None, settings_: Settings | None = None) -> Running:
            running = Running(projection, app or _bank.bank, settings_ or settings)
            stack.callback(running.close)
            return running

        yield start


class Proxy:
    """Stands between a client and Postgres, and can cut what passes."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._target = (parts.hostname, parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._accepting = True
        self._closed = False
        self.cut_at: bytes | None = None
        """Once the client sends this, the server still gets it and does it, and its answer is lost with the connection."""
        self.cuts = 0
        credentials = parts.netloc.rpartition("@")[0]
        host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = urlunsplit(parts._replace(netloc=f"{credentials}@{host}" if credentials else host))
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._accepting:
                client.close()
                continue
            server = socket.create_connection(self._target)
            self._pairs.append((client, server))
            threading.Thread(target=self._to_server, args=(client, server), name="proxy up", daemon=True).start()
            threading.Thread(target=self._to_client, args=(client, server), name="proxy down", daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.cut_at is not None and self.cut_at in data:
                    self.cut_at = None
                    self.cuts += 1
                    _shut(client)
                    server.sendall(data)
                    server.settimeout(5)
                    server.recv(65536)  # done there, and told to nobody
                    break
                server.sendall(data)
        _shut(client, server)

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        _shut(client, server)

    def down(self) -> None:
        """Cuts all connections, and takes no more."""
        self._accepting = False
        for pair in self._pairs:
            _shut(*pair)
        self._pairs.clear()

    def up(self) -> None:
        """Takes connections again."""
        self._accepting = True

    def close(self) -> None:
        self._closed = True
        self.down()
        self._listener.close()


def _shut(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Proxy]:
    found = Proxy(settings.postgres.url)
    yield found
    found.close()


class Tables:
    """What the database holds, and hands on it."""

    def __init__(self, settings: Settings, schema: str) -> None:
        self.schema = schema
        self._url = settings.postgres.url
        self.reconnect()

    def reconnect(self) -> None:
        self.connection = psycopg.connect(self._url, autocommit=True)
        self.connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", [self.schema])

    def __call__(self, query: str, arguments: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(query, arguments)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The same; nothing where the tables are not there yet."""
        try:
            return self(query)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return []


@pytest.fixture
def tables(settings: Settings) -> Iterator[Tables]:
    found = Tables(settings, _bank.bank.names(settings.namespace).database_schema)
    yield found
    found.connection.close()
