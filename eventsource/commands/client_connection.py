"""What a client holds open, from `App.connect` to `close`."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from eventsource.clock import Clock, Ids
from eventsource.commands.arguments import Receivers, no_read_model
from eventsource.commands.channel import Channel
from eventsource.commands.client_codecs import ClientCodecs
from eventsource.commands.routes import Routes
from eventsource.consuming.definition import ModelReader, Readable
from eventsource.errors import ClientClosed, ForkedClient
from eventsource.log.admin import LogAdmin
from eventsource.schemas import KafkaSchemaStore

if TYPE_CHECKING:
    from eventsource.app import App
    from eventsource.settings import Settings


class ClientConnection:
    """Owns every connection of a client. Safe to share between threads; a forked child may neither use nor close it.

    Raises `BrokerUnavailable`, `AccessDenied`, `TopicMissing` or `TopicMismatch`, and has nothing open then.
    """

    def __init__(self, app: App, settings: Settings, clock: Clock, ids: Ids) -> None:
        self.settings = settings
        self.clock = clock
        self._app = app
        self._process_id = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._readers: dict[object, ModelReader] = {}
        names = app.names(settings.namespace)
        kafka = settings.kafka
        config = kafka.client_config()
        self.receivers = Receivers(app)
        with ExitStack() as opened:
            self.admin = LogAdmin(config, request_timeout_seconds=kafka.request_timeout_seconds)
            opened.callback(self.admin.close)
            self.routes = Routes.find(app, names, self.admin)
            self.schemas = KafkaSchemaStore(
                names.schemas, config, request_timeout_seconds=kafka.request_timeout_seconds, clock=clock
            )
            opened.callback(self.schemas.close)
            self.codecs = ClientCodecs(self.schemas, clock)
            self.channel = Channel(settings, names, self.admin, clock=clock, ids=ids)
            opened.callback(self.channel.close)
            self._opened = opened.pop_all()

    def reader(self, model: Readable) -> ModelReader:
        """The one reader of a read model. Raises `ClientClosed`, and `InvalidArgument` for what is no read model."""
        if not callable(getattr(model, "reader", None)):
            raise no_read_model(model, self._app)
        with self._lock:
            # Under the lock: a reader made while `close` runs would be closed by nobody.
            self.check_usable()
            reader = self._readers.get(model)
            if reader is None:
                reader = self._readers[model] = model.reader(self._app, self.settings)
                self._opened.callback(reader.close)
            return reader

    def check_usable(self) -> None:
        """Raises `ForkedClient` in a child of the process that connected, `ClientClosed` after `close`."""
        if os.getpid() != self._process_id:
            raise ForkedClient(
                f"this client was connected in process {self._process_id} and does not survive a fork: connect in the child process, "
                "after the fork"
            )
        if self._closed:
            raise ClientClosed("this client is closed: connect again with app.connect()")

    def close(self) -> None:
        """Closes everything, once; what fails to close keeps nothing else open. In a forked child it does nothing."""
        if os.getpid() != self._process_id:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._opened.close()
