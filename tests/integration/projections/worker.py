"""A worker of its own for tests that kill it: runs one projection, or one rebuild, of the bank in this folder."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bank_app

from eventsource.clock import SystemClock
from eventsource.consuming.definition import ConsumerContext
from eventsource.schemas import KafkaSchemaStore
from eventsource.settings import load_settings
from projections import rebuild


def main(what: str, name: str) -> None:
    app, settings = bank_app.bank, load_settings()
    if what == "rebuild":
        rebuild(app, name, settings, lambda done, total: print(done, total, flush=True))
        return
    schemas = KafkaSchemaStore(app.names(settings.namespace).schemas, settings.kafka.client_config())
    app.consumers[name].runner(ConsumerContext(app, settings, schemas, SystemClock())).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
