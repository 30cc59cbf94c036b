"""The Kafka Streams peer: compiled here with the JDK and Maven of this machine, run as a child. Without those it is not measured."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka.admin import NewTopic

from benchmarks.account import Account, bench
from benchmarks.children import Child
from benchmarks.servers import Servers
from eventsource.app import App
from eventsource.log.admin import LogAdmin
from eventsource.log.topics import REPLY_PARTITIONS

_FOLDER: Final = Path(__file__).with_name("peers")
_BUILD: Final = _FOLDER / "build"
_BUILT: Final = _BUILD / "built"
_SOURCE: Final = _FOLDER / "KafkaStreamsPeer.java"
_BUILD_SECONDS: Final = 600
_JAVA: Final = 17
_START_SECONDS: Final = 60.0
_LOG_APPEND_TIME: Final = {"message.timestamp.type": "LogAppendTime"}


class NotMeasured(RuntimeError):
    """Raised when this machine has not what a peer needs. Says what that is."""


@dataclass(frozen=True, slots=True)
class KafkaStreams:
    """The compiled peer."""

    class_path: str

    @classmethod
    def build(cls) -> KafkaStreams:
        """Compiles the peer, and lets Maven fetch its jars the first time. Raises `NotMeasured`."""
        for program in ("java", "javac", "mvn"):
            if shutil.which(program) is None:
                raise NotMeasured(f"{program} is not on the PATH")
        version = re.search(r"(\d+)", _run("javac", "-version"))
        if version is None or int(version[1]) < _JAVA:
            raise NotMeasured(f"Java {_JAVA} is needed, here is {version[1] if version else 'none'}")
        jars, classes = _BUILD / "jars", _BUILD / "classes"
        if not cls.is_built():
            shutil.rmtree(_BUILD, ignore_errors=True)
            pom = ["-f", str(_FOLDER / "pom.xml")]
            _run("mvn", "-q", "-B", *pom, "dependency:copy-dependencies", f"-DoutputDirectory={jars}")
            _run("javac", "-cp", f"{jars}/*", "-d", str(classes), str(_SOURCE))
            _BUILT.touch()
        return cls(f"{classes}:{jars}/*")

    @staticmethod
    def is_built() -> bool:
        """Whether it was compiled here since its source changed."""
        newest = max(_SOURCE.stat().st_mtime, (_FOLDER / "pom.xml").stat().st_mtime)
        return _BUILT.exists() and _BUILT.stat().st_mtime >= newest

    @contextmanager
    def running(
        self,
        servers: Servers,
        namespace: str,
        *,
        app: App = bench,
        commit_interval_ms: int = 100,
        linger_ms: int = 5,
        standby_replicas: int = 0,
    ) -> Iterator[tuple[Child, str]]:
        """Runs the peer, with one stream thread, on the commands of `namespace`; yields it and its consumer group.

        Its other topics are made here. It says `ready` when it runs, and `caught-up` when its local store holds nearly all.
        """
        names = app.names(namespace)
        name = Account.__definition__.name
        group = f"{names.prefix}.kafka-streams"
        events, replies = f"{group}.events", f"{group}.replies"
        admin = LogAdmin(servers.settings(namespace).kafka.client_config())
        admin.create_topics(
            [
                NewTopic(events, app.partitions_of(Account), 1, config=_LOG_APPEND_TIME),
                NewTopic(replies, REPLY_PARTITIONS, 1, config=_LOG_APPEND_TIME),
            ]
        )
        commands = names.commands(name)
        with tempfile.TemporaryDirectory(prefix="kafka-streams-") as state:
            arguments = {
                "application-id": group,
                "bootstrap-servers": servers.bootstrap_servers,
                "commands": commands,
                "commands-topic-id": admin.topic_ids([commands])[commands].hex(),
                "events": events,
                "replies": replies,
                "source": f"/{names.prefix}/{name}",
                "state-dir": state,
                "commit-interval-ms": str(commit_interval_ms),
                "linger-ms": str(linger_ms),
                "standby-replicas": str(standby_replicas),
            }
            words = [word for pair in arguments.items() for word in pair]
            with Child("Kafka Streams", ["java", "-cp", self.class_path, "KafkaStreamsPeer", *words], {}) as child:
                yield child, group


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stdout + error.stderr).strip().splitlines()
        raise NotMeasured(f"{command[0]} failed: {lines[0] if lines else error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise NotMeasured(f"{command[0]} took more than {_BUILD_SECONDS} s") from error
    return done.stdout + done.stderr
