"""The broker's jars: fetched once from a Maven repository with jgo, checked against pinned digests, kept in a cache folder.

The list (`kafka_jars.json`) was made by jgo's resolver (`python -m eventsource.embedded.pin`); installing needs no resolving.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from eventsource.embedded.file_lock import FileLock
from eventsource.embedded.folders import default_cache_dir, make_folder
from eventsource.embedded.progress import Progress, ProgressCallback, no_progress
from eventsource.errors import EmbeddedDownloadFailed, EmbeddedStackError, EmbeddedStackMisused

if TYPE_CHECKING:
    import requests

KAFKA_VERSION = "4.3.1"

_PARALLEL_DOWNLOADS = 4
_ATTEMPTS = 3
_CHUNK_BYTES = 64 * 1024
_TIMEOUT_SECONDS = 30
_LOCK_TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Jar:
    """One file of the pinned list. `coordinate` is Maven's `group:artifact:version`."""

    coordinate: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def pinned_jars() -> list[Jar]:
    """The broker's class path for `KAFKA_VERSION`."""
    text = resources.files("eventsource.embedded").joinpath("kafka_jars.json").read_text(encoding="utf-8")
    return [Jar(**entry) for entry in json.loads(text)["jars"]]


def default_repository_url() -> str:
    """The Maven repository that jgo takes by default."""
    from jgo.constants import MAVEN_CENTRAL_URL

    return str(MAVEN_CENTRAL_URL)


class JarCache:
    """A folder of verified jars, shared by every stack of one user.

    `cache_dir` defaults to the user's cache folder; `repository_url` is a Maven repository, such as a company's mirror.
    """

    def __init__(
        self, cache_dir: Path | None = None, *, repository_url: str | None = None, jars: list[Jar] | None = None
    ) -> None:
        self.cache_dir = (cache_dir or default_cache_dir()).absolute()
        self.folder = self.cache_dir / f"kafka-{KAFKA_VERSION}"
        self._repository_url = repository_url
        self._jars = pinned_jars() if jars is None else jars

    def missing(self) -> list[Jar]:
        """The jars that are not there yet."""
        return [jar for jar in self._jars if not self._is_there(jar)]

    def class_path(self) -> str:
        """The value of `java -cp`."""
        return os.pathsep.join(str(self.folder / jar.file_name) for jar in self._jars)

    def ensure(self, progress: ProgressCallback = no_progress) -> str:
        """Downloads what is missing and returns the class path.

        A jar gets its name only once it is whole and its digest is right, so a kill at any moment leaves nothing half-made
        and the next call downloads only the rest. Raises `EmbeddedStackError` when a jar cannot be had.
        """
        if self.missing():
            make_folder(self.cache_dir)
            lock = FileLock(
                self.cache_dir / f"kafka-{KAFKA_VERSION}.lock",
                timeout_seconds=_LOCK_TIMEOUT_SECONDS,
                what=f"downloading Kafka {KAFKA_VERSION}",
            )
            with lock:
                make_folder(self.folder)
                for leftover in self.folder.glob("*.part"):
                    leftover.unlink()
                self._download(self.missing(), progress)
        return self.class_path()

    def _is_there(self, jar: Jar) -> bool:
        path = self.folder / jar.file_name
        return path.is_file() and path.stat().st_size == jar.size_bytes

    def _download(self, jars: list[Jar], progress: ProgressCallback) -> None:
        step = f"Downloading Kafka {KAFKA_VERSION}"
        total = sum(jar.size_bytes for jar in jars)
        done = 0
        lock = threading.Lock()

        def advance(size_bytes: int) -> None:
            nonlocal done
            with lock:
                done += size_bytes
                progress(Progress(step, done, total))

        advance(0)
        # Largest first: the last one to end is then a small one.
        ordered = sorted(jars, key=lambda jar: jar.size_bytes, reverse=True)
        with ThreadPoolExecutor(_PARALLEL_DOWNLOADS, thread_name_prefix="jar-download") as pool:
            futures = [pool.submit(self._fetch, jar, advance) for jar in ordered]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _fetch(self, jar: Jar, advance: Callable[[int], None]) -> None:
        import requests

        url = self._url(jar)
        for attempt in range(1, _ATTEMPTS + 1):
            counted = 0

            def count(size_bytes: int) -> None:
                nonlocal counted
                counted += size_bytes
                advance(size_bytes)

            try:
                self._fetch_once(jar, url, count)
            except (requests.RequestException, EmbeddedStackError) as error:
                advance(-counted)
                if attempt == _ATTEMPTS:
                    raise EmbeddedDownloadFailed(
                        f"cannot download {url} ({error}): check the network, its proxy and REQUESTS_CA_BUNDLE, or name another Maven "
                        "repository, then start again; what was downloaded so far is kept"
                    ) from error
            except OSError as error:
                raise EmbeddedStackMisused(
                    f"cannot write {self.folder / jar.file_name} ({error.strerror}): make room, or choose another cache folder"
                ) from error
            else:
                return

    def _url(self, jar: Jar) -> str:
        from jgo.maven import MavenContext

        artifact = MavenContext(repo_cache=self.folder).create_dependency(jar.coordinate).artifact
        base = (self._repository_url or default_repository_url()).rstrip("/")
        return f"{base}/{artifact.component.path_prefix.as_posix()}/{artifact.filename}"

    def _fetch_once(self, jar: Jar, url: str, count: Callable[[int], None]) -> None:
        from jgo.util import http

        response: requests.Response = http.get(url, stream=True, timeout=_TIMEOUT_SECONDS)
        with response:
            response.raise_for_status()
            digest = hashlib.sha256()
            part = self.folder / f"{jar.file_name}.part"
            with part.open("wb") as file:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
                    count(len(chunk))
                file.flush()
                os.fsync(file.fileno())
        if digest.hexdigest() != jar.sha256:
            part.unlink()
            raise EmbeddedStackError(f"its SHA-256 is {digest.hexdigest()}, not the pinned {jar.sha256}")
        part.replace(self.folder / jar.file_name)
