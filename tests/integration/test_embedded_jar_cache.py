"""Downloading jars: from a repository on this machine that can misbehave."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventsource.embedded.jars import Jar, JarCache
from eventsource.embedded.progress import Progress
from eventsource.errors import EmbeddedStackError

CONTENT = {"one": b"first jar" * 40_000, "two": b"second jar" * 40_000}


class Repository:
    """Serves `CONTENT` in Maven's layout. `fail`, `corrupt` and `stall` name artifacts that go wrong."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fail: dict[str, int] = {}
        self.corrupt: set[str] = set()
        self.stall: set[str] = set()
        self.stalled = threading.Event()
        self.resume = threading.Event()
        repository = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        artifact = request.path.split("/")[3]
        assert request.path == f"/org/example/{artifact}/1.0/{artifact}-1.0.jar"
        self.asked.append(artifact)
        if self.fail.get(artifact, 0):
            self.fail[artifact] -= 1
            request.send_error(503)
            return
        data = CONTENT[artifact]
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if artifact in self.corrupt:
            data = bytes(len(data))
        request.wfile.write(data[:100_000])
        if artifact in self.stall:
            self.stalled.set()
            self.resume.wait(30)
        request.wfile.write(data[100_000:])

    def close(self) -> None:
        self.resume.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def repository() -> Iterator[Repository]:
    repository = Repository()
    yield repository
    repository.close()


def jars() -> list[Jar]:
    return [
        Jar(f"org.example:{name}:1.0", len(data), hashlib.sha256(data).hexdigest()) for name, data in CONTENT.items()
    ]


def cache(tmp_path: Path, repository: Repository) -> JarCache:
    return JarCache(tmp_path, repository_url=repository.url, jars=jars())


def files(cache: JarCache) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.folder.iterdir()}


def test_jars_are_downloaded_once_with_progress(tmp_path: Path, repository: Repository) -> None:
    seen: list[Progress] = []
    jar_cache = cache(tmp_path, repository)
    jar_cache.ensure(seen.append)
    jar_cache.ensure(seen.append)
    assert files(jar_cache) == {f"{name}-1.0.jar": data for name, data in CONTENT.items()}
    assert sorted(repository.asked) == ["one", "two"]
    total = sum(map(len, CONTENT.values()))
    assert (seen[0].done_bytes, seen[-1].done_bytes) == (0, total)
    assert {progress.total_bytes for progress in seen} == {total}


def test_a_repository_that_hiccups_is_asked_again(tmp_path: Path, repository: Repository) -> None:
    repository.fail["one"] = 2
    jar_cache = cache(tmp_path, repository)
    seen: list[Progress] = []
    jar_cache.ensure(seen.append)
    assert jar_cache.missing() == []
    assert seen[-1].done_bytes == seen[-1].total_bytes


def test_a_jar_with_another_digest_is_refused_and_the_rest_is_kept(tmp_path: Path, repository: Repository) -> None:
    repository.corrupt.add("two")
    jar_cache = cache(tmp_path, repository)
    with pytest.raises(EmbeddedStackError, match=r"two-1\.0\.jar.*not the pinned"):
        jar_cache.ensure()
    assert "two-1.0.jar" not in files(jar_cache)
    repository.corrupt.clear()
    repository.asked.clear()
    jar_cache.ensure()
    assert set(repository.asked) <= {"two"} | {jar for jar in ("one",) if "one-1.0.jar" not in files(jar_cache)}


def test_a_kill_in_the_middle_leaves_nothing_half_made_and_only_the_rest_is_fetched(
    tmp_path: Path, repository: Repository
) -> None:
    repository.stall.add("two")
    code = (
        "import sys; from pathlib import Path; from eventsource.embedded.jars import Jar, JarCache\n"
        "jars = [Jar(w.split(',')[0], int(w.split(',')[1]), w.split(',')[2]) for w in sys.argv[3:]]\n"
        "JarCache(Path(sys.argv[1]), repository_url=sys.argv[2], jars=jars).ensure()"
    )
    words = [f"{jar.coordinate},{jar.size_bytes},{jar.sha256}" for jar in jars()]
    jar_cache = cache(tmp_path, repository)
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), repository.url, *words]) as process:
        assert repository.stalled.wait(30)
        deadline = time.monotonic() + 30
        wanted = [jar_cache.folder / "one-1.0.jar", jar_cache.folder / "two-1.0.jar.part"]
        while not all(path.exists() for path in wanted):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.wait()
    assert [jar.coordinate for jar in jar_cache.missing()] == ["org.example:two:1.0"]
    repository.resume.set()
    repository.asked.clear()
    jar_cache.ensure()
    assert repository.asked == ["two"]
    assert files(jar_cache) == {f"{name}-1.0.jar": data for name, data in CONTENT.items()}


def test_no_repository_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedStackError, match="check the network"):
        JarCache(tmp_path, repository_url="http://127.0.0.1:1", jars=jars()).ensure()


def test_a_cache_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path, repository: Repository) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedStackError, match="choose another"):
        cache(tmp_path / "file" / "cache", repository).ensure()
    assert repository.asked == []
