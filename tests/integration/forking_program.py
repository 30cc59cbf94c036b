"""A process with every kind of native handle: forks children that collect garbage, and says how each of them ended.

Run as `python -m tests.integration.forking_program BOOTSTRAP_SERVERS NAMESPACE FOLDER CHILDREN`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from eventsource.commands.client import Client
from eventsource.errors import ForkedClient
from eventsource.forks import KeptInChildren
from eventsource.log.admin import LogAdmin
from eventsource.log.client_config import consumer_config
from eventsource.log.kafka_clients import KafkaConsumer
from eventsource.log.reader import LogReader
from eventsource.log.transactions import PartitionWriter
from eventsource.settings import KafkaSettings, Settings
from tests.integration.client.accounts import APP, Account, Open

_CHILD_SECONDS = 30


class Everything:
    """One of each kind, and a reference to itself: only the collector frees it."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        from rocksdict import Rdict

        config = settings.kafka.client_config()
        self.itself = self
        self.client: Client = APP.connect(settings)
        self.client.submit(Account, "acc-1", Open(owner="Ada"))
        self.admin = LogAdmin(config)
        self.admin.broker_count()
        topic = APP.names(settings.namespace).replies
        self.reader = LogReader(config, committed_only=False)
        self.reader.assign({(topic, 0): 0})
        self.reader.read(1, 0.1)
        self.consumer = KafkaConsumer(consumer_config(config, f"{settings.namespace}.forking"))
        self.consumer.subscribe([topic])
        self.consumer.poll(0.1)
        self.writer = PartitionWriter(config, [f"{settings.namespace}.forking.0", f"{settings.namespace}.forking.1"])
        self.writer.fence()
        self.database = Rdict(str(folder / "store"))
        self.database[b"key"] = b"value"
        self.kept = KeptInChildren(self.database)


def child(held: list[Everything], number: int) -> NoReturn:
    signal.alarm(_CHILD_SECONDS)
    client = held[0].client
    try:
        client.load(Account, "acc-1")
        os._exit(1)
    except ForkedClient:
        pass
    client.close()
    held[0].consumer.close()
    del client
    held.clear()
    gc.collect()
    if number % 2:
        os._exit(0)  # as multiprocessing does
    sys.exit(0)  # as gunicorn does: what is left is torn down with the interpreter


def main(bootstrap_servers: str, namespace: str, folder: Path, children: int) -> None:
    settings = Settings(_env_file=None, namespace=namespace, kafka=KafkaSettings(bootstrap_servers=bootstrap_servers))
    held = [Everything(settings, folder)]
    ended: Counter[str] = Counter()
    for number in range(children):
        process = os.fork()
        if process == 0:
            child(held, number)
        _, status = os.waitpid(process, 0)
        ended[str(os.waitstatus_to_exitcode(status))] += 1
    still: Any = held[0]
    assert still.admin.broker_count() == 1
    assert still.database[b"key"] == b"value"
    still.client.close()
    still.reader.close()
    still.consumer.close()
    still.admin.close()
    still.writer.close()
    still.database.close()
    print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
