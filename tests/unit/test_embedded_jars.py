"""The pinned list of the broker's jars."""

from __future__ import annotations

import os
import re
from pathlib import Path

from eventsource.embedded.jars import KAFKA_VERSION, Jar, JarCache, pinned_jars


def test_the_pinned_list_holds_the_broker_of_this_version_and_a_logger() -> None:
    coordinates = {jar.coordinate for jar in pinned_jars()}
    assert f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}" in coordinates
    assert any(coordinate.startswith("org.slf4j:slf4j-simple:") for coordinate in coordinates)


def test_every_pinned_jar_has_a_digest_a_size_and_a_name_of_its_own() -> None:
    jars = pinned_jars()
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.size_bytes > 0 for jar in jars)
    assert len({jar.file_name for jar in jars}) == len(jars)


def test_a_jar_of_another_size_counts_as_missing(tmp_path: Path) -> None:
    jar = Jar("group:thing:1.0", 3, "0" * 64)
    cache = JarCache(tmp_path, jars=[jar])
    cache.folder.mkdir(parents=True)
    (cache.folder / "thing-1.0.jar").write_bytes(b"12")
    assert cache.missing() == [jar]
    (cache.folder / "thing-1.0.jar").write_bytes(b"123")
    assert cache.missing() == []


def test_the_class_path_names_every_jar(tmp_path: Path) -> None:
    jars = [Jar("group:a:1", 1, "0" * 64), Jar("group:b:2", 1, "0" * 64)]
    names = [Path(entry).name for entry in JarCache(tmp_path, jars=jars).class_path().split(os.pathsep)]
    assert names == ["a-1.jar", "b-2.jar"]
