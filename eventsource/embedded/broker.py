"""One Kafka broker (with its controller) on the Java runtime of a wheel."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eventsource.embedded.broker_config import (
    BrokerAddress,
    broker_properties,
    controller_properties,
    meta_properties,
    new_kafka_uuid,
    render_properties,
)
from eventsource.embedded.folders import make_folder, open_private, write_atomically
from eventsource.embedded.registration import unregister_broker
from eventsource.embedded.server import Ledger, Server, server_environment
from eventsource.errors import EmbeddedStackError

_FORMAT_TIMEOUT_SECONDS = 60
_MARKER = "Address already in use"
_METADATA = "__cluster_metadata-0"
_UNREGISTER_TIMEOUT_SECONDS = 60.0
_CONTROLLER_HEAP_MEGABYTES = 128
_CONTROLLER_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class JavaRuntime:
    """What a broker needs to run: the program, the class path, and a heap.

    `short_lived` is for brokers that run for minutes: on two cores, the JVM's second compiler takes more of those from the work
    than it gives back.
    """

    java: Path
    class_path: str
    heap_megabytes: int
    short_lived: bool = False

    def command(self, main_class: str, *arguments: str, temporary: Path, options: Sequence[str] = ()) -> list[str]:
        return [
            str(self.java),
            f"-Xms{self.heap_megabytes}m",
            f"-Xmx{self.heap_megabytes}m",
            "-XX:+ExitOnOutOfMemoryError",
            # At this heap it needs a tenth less CPU than G1 for the same messages, and 120 MB less memory.
            "-XX:+UseSerialGC",
            *(["-XX:TieredStopAtLevel=1"] if self.short_lived else []),
            # Both would leave files in the machine's /tmp.
            "-XX:-UsePerfData",
            f"-Djava.io.tmpdir={temporary}",
            "-Djava.awt.headless=true",
            *options,
            "-cp",
            self.class_path,
            main_class,
            *arguments,
        ]


_LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    # 400 lines of configuration at each start, and again for each topic.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
)


class Broker:
    """Node `address.node_id`; its files are in `folder`."""

    def __init__(
        self,
        runtime: JavaRuntime,
        address: BrokerAddress,
        cluster: Sequence[BrokerAddress],
        *,
        cluster_id: str,
        folder: Path,
        log: Path,
        ledger: Ledger,
        template: Path,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self.server = Server(f"Kafka broker {address.node_id}", log, ledger)
        self._runtime = runtime
        self._cluster = cluster
        self._cluster_id = cluster_id
        self._folder = folder
        self._template = template
        self._overrides = overrides

    @property
    def _log_dir(self) -> Path:
        return self._folder / "data"

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    @property
    def _temporary(self) -> Path:
        return self._folder / "tmp"

    def launch(self) -> None:
        """Starts the process; whether it answers is for the cluster to find out.

        The only broker of a cluster that ran before is first taken out of the metadata, which takes a second: see `registration`.
        """
        make_folder(self._log_dir)
        make_folder(self._temporary)
        for leftover in self._temporary.iterdir():
            leftover.unlink()
        properties = broker_properties(self.address, self._cluster, self._log_dir, self._overrides)
        write_atomically(self._properties, render_properties(properties))
        self._format()
        if len(self._cluster) == 1 and (self._log_dir / _METADATA).exists():
            self._unregister(properties)
        self._launch(self._runtime, self._properties)

    def _launch(self, runtime: JavaRuntime, properties: Path) -> None:
        command = runtime.command("kafka.Kafka", str(properties), temporary=self._temporary, options=_LOGGING)
        self.server.launch(command, cwd=self._folder, environment=server_environment(), launcher_options=["--private"])

    def _unregister(self, properties: Mapping[str, str]) -> None:
        configuration = self._folder / "controller.properties"
        write_atomically(configuration, render_properties(controller_properties(properties)))
        self._launch(replace(self._runtime, heap_megabytes=_CONTROLLER_HEAP_MEGABYTES, short_lived=True), configuration)
        try:
            unregister_broker(
                self.address.node_id,
                self.address.controller_port,
                timeout_seconds=_UNREGISTER_TIMEOUT_SECONDS,
                check=self._check_runs,
            )
        finally:
            self.server.stop(_CONTROLLER_STOP_SECONDS)

    def _check_runs(self) -> None:
        if not self.server.is_running:
            raise self.server.died()

    def _format(self) -> None:
        """Formats the log folder, once. Kafka's own tool takes a JVM start, so what it makes is kept as a template."""
        if (self._log_dir / "meta.properties").exists():
            return
        if not self._template.exists():
            self._make_template()
        with open(self._log_dir / "bootstrap.checkpoint", "wb", opener=open_private) as checkpoint:
            checkpoint.write(self._template.read_bytes())
        write_atomically(
            self._log_dir / "meta.properties",
            meta_properties(self._cluster_id, self.address.node_id, new_kafka_uuid()),
        )

    def _make_template(self) -> None:
        # bootstrap.checkpoint holds only feature levels: it is the same for every cluster of one Kafka version.
        scratch = make_folder(self._folder / "format")
        properties = broker_properties(self.address, self._cluster, scratch / "data", self._overrides)
        configuration = scratch / "server.properties"
        write_atomically(configuration, render_properties(properties))
        arguments = ("format", "--cluster-id", self._cluster_id, "--config", str(configuration), "--ignore-formatted")
        done = subprocess.run(  # noqa: S603 (our own command, no shell)
            self._runtime.command("kafka.tools.StorageTool", *arguments, temporary=self._temporary),
            capture_output=True,
            text=True,
            timeout=_FORMAT_TIMEOUT_SECONDS,
            check=False,
            env=server_environment(),
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise EmbeddedStackError(
                f"cannot format {scratch / 'data'} for Kafka: mend what its tool says\n{done.stderr[-2000:]}{done.stdout[-2000:]}"
            )
        draft = make_folder(self._template.parent) / f".{self._template.name}.{new_kafka_uuid()}"
        draft.write_bytes((scratch / "data" / "bootstrap.checkpoint").read_bytes())
        draft.replace(self._template)

    @property
    def lost_its_port(self) -> bool:
        """Whether it ended because somebody else took its port first."""
        return not self.server.is_running and _MARKER in self.server.log_since_start()
