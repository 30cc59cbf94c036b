"""Two ways to send the same commands and to hear when each was answered: the framework's client, and bare producer and consumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from confluent_kafka import Producer

from benchmarks.account import PARTITIONS, Account, Deposit, OpenAccount
from eventsource.app import App
from eventsource.clock import RandomIds
from eventsource.commands.client import Client
from eventsource.commands.pending import Pending
from eventsource.log.admin import LogAdmin
from eventsource.log.client_config import producer_config
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.partitioner import aggregate_key, partition_for
from eventsource.log.reader import LogReader
from eventsource.log.topics import REPLY_PARTITIONS
from eventsource.schemas import MemorySchemaStore, MessageCodec
from eventsource.settings import Settings

Answered = Callable[[int, float], None]
"""Called in another thread with a request's number and the monotonic time of its answer. An answer that is an error is none."""

UUID_CHARACTERS: Final = 36
_READ_SECONDS: Final = 0.05
_READ_RECORDS: Final = 5_000


class Requester(Protocol):
    """Sends commands."""

    failures: list[Exception]

    def send(self, number: int, account: str, *, opens: bool) -> None:
        """Sends a command to an account, its first one if it `opens` it."""

    def close(self) -> None:
        """Gives the connections back."""


class ClientRequester:
    """The framework's own client."""

    def __init__(self, app: App, settings: Settings, answered: Answered) -> None:
        self._client: Client = app.connect(settings)
        self._answered = answered
        self.failures: list[Exception] = []

    def send(self, number: int, account: str, *, opens: bool) -> None:
        command = (OpenAccount if opens else Deposit)(account_id=account, amount=5, ref=f"r{number}")

        def done(pending: Pending) -> None:
            now = time.monotonic()
            try:
                pending.result()
            except Exception as error:  # noqa: BLE001 - whatever it is, the request has no answer
                self.failures.append(error)
            else:
                self._answered(number, now)

        self._client.submit(Account, account, command).add_done_callback(done)

    def close(self) -> None:
        self._client.close()


class BareRequester:
    """A producer and a consumer and nothing else. It writes the client's bytes; a reply to it ends in the command's id."""

    def __init__(
        self,
        settings: Settings,
        *,
        commands: str,
        replies: str,
        committed_only: bool,
        answered: Answered,
        partitions: int = PARTITIONS,
    ) -> None:
        config = settings.kafka.client_config()
        self.failures: list[Exception] = []
        ids = RandomIds()
        self._new_id = ids.new
        self._client_id = bytes.fromhex(ids.new().replace("-", ""))
        self._commands, self._partitions, self._answered = commands, partitions, answered
        self._numbers: dict[bytes, int] = {}
        schemas = MemorySchemaStore()
        self._opening = MessageCodec(OpenAccount, OpenAccount.message_name, schemas)
        self._depositing = MessageCodec(Deposit, Deposit.message_name, schemas)
        self._reply_partition = partition_for(self._client_id, REPLY_PARTITIONS)
        where = (replies, self._reply_partition)
        self._start = {where: LogAdmin(config).end_offsets([where])[where]}
        self._producer = Producer({**producer_config(config), "delivery.report.only.error": True})
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(LogReader(config, committed_only=committed_only),), name="replies", daemon=True
        )
        self._thread.start()

    def send(self, number: int, account: str, *, opens: bool) -> None:
        if opens:
            type_ = OpenAccount.message_name
            value = self._opening.encode(OpenAccount(account_id=account, amount=5, ref=f"r{number}"))
        else:
            type_ = Deposit.message_name
            value = self._depositing.encode(Deposit(account_id=account, amount=5, ref=f"r{number}"))
        command_id = self._new_id()
        headers = command_headers(
            CommandHeaders(
                command_id=command_id,
                type=type_,
                source="/bench/client",
                sent_at_ms=time.time_ns() // 1_000_000,
                reply_partition=self._reply_partition,
                client_id=self._client_id,
            )
        )
        key = aggregate_key(account)
        self._numbers[command_id.encode()] = number
        self._producer.produce(self._commands, value, key, partition_for(key, self._partitions), headers=headers)  # type: ignore[arg-type]
        self._producer.poll(0)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._producer.flush(10.0)

    def _read(self, reader: LogReader) -> None:
        with reader:
            reader.assign(self._start)
            while not self._stop.is_set():
                records = reader.read(_READ_RECORDS, _READ_SECONDS)
                now = time.monotonic()
                for record in records:
                    if record.key == self._client_id and record.value is not None:
                        number = self._numbers.pop(record.value[-UUID_CHARACTERS:], None)
                        if number is not None:
                            self._answered(number, now)
