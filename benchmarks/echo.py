"""The floor: a server that answers every request at once, without state and without transactions: `python -m benchmarks.echo`."""

from __future__ import annotations

import argparse
import gc
from typing import Final

from confluent_kafka import Producer

from benchmarks.account import PARTITIONS
from benchmarks.children import end_with_parent, say
from eventsource.log.admin import LogAdmin
from eventsource.log.client_config import producer_config
from eventsource.log.header_reading import read_command_headers
from eventsource.log.partitioner import partition_for
from eventsource.log.reader import LogReader
from eventsource.log.topics import REPLY_PARTITIONS
from eventsource.settings import load_settings

_FIXED: Final = bytes(46)  # as many as a reply of the framework has before the command's id


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers requests from one topic in another.")
    parser.add_argument("--commands", required=True)
    parser.add_argument("--replies", required=True)
    arguments = parser.parse_args()
    end_with_parent()
    config = load_settings().kafka.client_config()
    places = [(arguments.commands, partition) for partition in range(PARTITIONS)]
    producer = Producer({**producer_config(config), "delivery.report.only.error": True})
    with LogReader(config, committed_only=False) as reader:
        reader.assign(LogAdmin(config).end_offsets(places))
        gc.freeze()
        say("ready")
        while True:
            for record in reader.read(5_000, 0.1):
                headers = read_command_headers(record.headers)
                reply = _FIXED + headers.command_id.encode()
                partition = partition_for(headers.client_id, REPLY_PARTITIONS)
                producer.produce(arguments.replies, reply, headers.client_id, partition)
            producer.poll(0)


if __name__ == "__main__":
    main()
