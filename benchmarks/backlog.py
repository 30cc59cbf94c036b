"""Writes a backlog of commands as the framework's client does, and as fast as Python can: `python -m benchmarks.backlog`.

The bytes are the client's: its headers, its codec, a reply wanted. Only the waiting for answers is left out. The settings come from
the environment, the topics are there.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Mapping
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.account import APPS, Account, Deposit, OpenAccount, bench
from benchmarks.children import end_with_parent, python_child, say
from eventsource.app import App
from eventsource.clock import RandomIds
from eventsource.log.client_config import producer_config
from eventsource.log.headers import CommandHeaders, command_headers
from eventsource.log.partitioner import aggregate_key, partition_for
from eventsource.log.topics import REPLY_PARTITIONS
from eventsource.schemas import KafkaSchemaStore, MessageCodec
from eventsource.settings import load_settings

_BUFFER: Final = {
    "linger.ms": 25,
    "queue.buffering.max.messages": 2_000_000,
    "queue.buffering.max.kbytes": 1_000_000,
    "delivery.report.only.error": True,
}
_SECONDS: Final = 600.0
_CENTS: Final = 5


def write_backlog(environment: Mapping[str, str], commands: int, aggregates: int, app: App = bench) -> float:
    """Writes `commands` to `aggregates` in turn, in a process of its own; returns the seconds it took. Raises `ChildFailed`."""
    arguments = ["--app", app.name, "--commands", str(commands), "--aggregates", str(aggregates)]
    with python_child("the backlog's writer", "benchmarks.backlog", arguments, environment) as child:
        return float(child.wait_for("written", _SECONDS)["seconds"])


def account_id(number: int) -> str:
    """The id of an account."""
    return f"acc-{number:06d}"


def _write(app: App, commands: int, aggregates: int) -> None:
    settings = load_settings()
    names = app.names(settings.namespace)
    partitions = app.partitions_of(Account)
    topic = names.commands(Account.__definition__.name)
    source = f"/{names.prefix}/client"
    config = settings.kafka.client_config()
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(error)

    ids = RandomIds()
    client_id = bytes.fromhex(ids.new().replace("-", ""))
    reply_partition = partition_for(client_id, REPLY_PARTITIONS)
    with KafkaSchemaStore(names.schemas, config) as schemas:
        opening = MessageCodec(OpenAccount, OpenAccount.message_name, schemas)
        depositing = MessageCodec(Deposit, Deposit.message_name, schemas)
        opening.register()
        depositing.register()
        producer = Producer({**producer_config(config), **_BUFFER})
        accounts = [account_id(number) for number in range(aggregates)]
        keys = [(aggregate_key(account), partition_for(aggregate_key(account), partitions)) for account in accounts]
        began = time.monotonic()
        for number in range(commands):
            place = number % aggregates
            account, (key, partition) = accounts[place], keys[place]
            if number < aggregates:
                type_ = OpenAccount.message_name
                value = opening.encode(OpenAccount(account_id=account, amount=_CENTS, ref=f"r{number}"))
            else:
                type_ = Deposit.message_name
                value = depositing.encode(Deposit(account_id=account, amount=_CENTS, ref=f"r{number}"))
            headers = command_headers(
                CommandHeaders(
                    command_id=ids.new(),
                    type=type_,
                    source=source,
                    sent_at_ms=time.time_ns() // 1_000_000,
                    reply_partition=reply_partition,
                    client_id=client_id,
                )
            )
            producer.produce(topic, value, key, partition, on_delivery=delivered, headers=headers)  # type: ignore[arg-type]
            if number % 5_000 == 0:
                producer.poll(0)
        left = producer.flush(_SECONDS)
    if left or failures:
        raise SystemExit(f"{left or len(failures)} commands were not written: {failures[:1]}")
    say("written", seconds=round(time.monotonic() - began, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes commands to the benchmarks' app.")
    parser.add_argument("--app", choices=APPS, required=True)
    parser.add_argument("--commands", type=int, required=True)
    parser.add_argument("--aggregates", type=int, required=True)
    arguments = parser.parse_args()
    end_with_parent()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    _write(APPS[arguments.app], arguments.commands, arguments.aggregates)


if __name__ == "__main__":
    main()
