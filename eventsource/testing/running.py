"""An app at work on real servers for a test: its topics, a worker in a thread, and a client."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Self

import structlog

from eventsource.errors import EventSourceError
from eventsource.log.topics import apply
from eventsource.settings import KafkaSettings, PostgresSettings, Settings, load_settings
from eventsource.worker import Worker

if TYPE_CHECKING:
    from eventsource.app import App
    from eventsource.commands.client import Client
    from eventsource.testing.stack import SessionStack

_READY_SECONDS: Final = 60.0
_LONGER_THAN_A_DRAIN_SECONDS: Final = 10.0


class ClientFactory:
    """What the fixture `eventsource_client` gives: called with an app, it makes topics, starts a worker and connects a client.

    The test's end closes the clients, then stops the workers. A worker that failed meanwhile fails the test there.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        """Those of the test: its servers and its namespace."""
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(_plain_tracebacks())

    def __call__(self, app: App, *, settings: Settings | None = None, only: Iterable[str] = ()) -> Client:
        """A client of `app`, once a worker of it is ready; `only` chooses what the worker runs, as `eventsource run --only` does.

        Raises what keeps the worker from starting, at once, and `EventSourceError` when it is not ready within a minute.
        """
        __tracebackhide__ = True
        settings = settings if settings is not None else self.settings
        apply(app, settings)
        worker = self._stack.enter_context(RunningWorker(app, settings, only))
        worker.wait_until_ready()
        return self._stack.enter_context(app.connect(settings))

    def close(self) -> None:
        """Ends everything that was started. Raises the error of a worker that failed."""
        __tracebackhide__ = True
        self._stack.close()


class RunningWorker:
    """A worker in a thread, from `with` to the end of its block, which raises the worker's error unless it was raised before."""

    def __init__(self, app: App, settings: Settings, only: Iterable[str]) -> None:
        self._app = app
        self._worker = Worker(app, settings, only=only, fail_fast=True)
        self._stop_seconds = settings.worker.drain_seconds + _LONGER_THAN_A_DRAIN_SECONDS
        self._error: BaseException | None = None
        self._progress: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"worker of {app.name}", daemon=True)

    def _run(self) -> None:
        try:
            self._worker.run(lambda: self._progress.put(True))
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's own thread
            self._error = error
        finally:
            self._progress.put(False)

    def wait_until_ready(self) -> None:
        """Blocks until the worker is ready. Raises its error if it ends before."""
        __tracebackhide__ = True
        try:
            is_ready = self._progress.get(timeout=_READY_SECONDS)
        except Empty:
            waiting = [name for name, status in self._worker.statuses().items() if not status.ready]
            raise EventSourceError(
                f"the worker of app {self._app.name!r} is not ready after {_READY_SECONDS:g} s; not ready are {', '.join(waiting)}: "
                "see its log in the test's captured output"
            ) from None
        if not is_ready:
            self._raise_error()

    def _raise_error(self) -> None:
        __tracebackhide__ = True
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        __tracebackhide__ = True
        self._worker.stop()
        self._thread.join(self._stop_seconds)
        if self._thread.is_alive():
            raise EventSourceError(
                f"the worker of app {self._app.name!r} did not stop within {self._stop_seconds:g} s: a handler hangs"
            )
        self._raise_error()


@contextlib.contextmanager
def _plain_tracebacks() -> Iterator[None]:
    """Unless the tests configure structlog, its default shows the local variables of every frame: hundreds of lines, with bytes."""
    if structlog.is_configured():
        yield
        return
    *processors, _ = structlog.get_config()["processors"]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, renderer])
    try:
        yield
    finally:
        structlog.reset_defaults()


def settings_of(stack: SessionStack, namespace: str) -> Settings:
    """The settings of a test: its servers, its namespace, and for the rest the environment, of which an embedded stack takes nothing."""
    if stack.embedded is None:
        return load_settings().model_copy(update={"namespace": namespace})
    settings = Settings(
        _env_file=None,
        namespace=namespace,
        kafka=KafkaSettings(bootstrap_servers=stack.bootstrap_servers),
        postgres=PostgresSettings(url=stack.postgres_url),
    )
    if settings.worker.state_dir is not None:
        return settings
    worker = settings.worker.model_copy(update={"state_dir": stack.embedded.stores_dir})
    return settings.model_copy(update={"worker": worker})
