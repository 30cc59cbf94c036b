"""What a data folder remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventsource.embedded.processes import ProcessRecord
from eventsource.embedded.record import PortRecord, StackRecord
from eventsource.errors import EmbeddedStackError


def a_record() -> StackRecord:
    return StackRecord(
        brokers=1,
        cluster_id="abc",
        ports={"kafka-1": PortRecord(asked=9092, chosen=20111)},
        supervisor=ProcessRecord("supervisor", 7, "boot/1"),
        servers=[ProcessRecord("Postgres", 8, "boot/2", 2)],
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    a_record().write(tmp_path)
    assert StackRecord.read(tmp_path) == a_record()
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]


def test_a_new_folder_has_no_record(tmp_path: Path) -> None:
    assert StackRecord.read(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"format": 1}', '{"format": 1, "brokers": "x"}'])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    StackRecord.path(tmp_path).write_text(text)
    with pytest.raises(EmbeddedStackError, match=r"stack\.json is damaged"):
        StackRecord.read(tmp_path)


def test_the_record_of_another_format_is_refused(tmp_path: Path) -> None:
    a_record().write(tmp_path)
    path = StackRecord.path(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(EmbeddedStackError, match="format 2"):
        StackRecord.read(tmp_path)


def test_the_same_wish_gets_the_remembered_port_first() -> None:
    assert a_record().preferred_ports("kafka-1", 9092) == [20111, 9092]


def test_another_wish_goes_before_the_remembered_port() -> None:
    assert a_record().preferred_ports("kafka-1", 9192) == [9192]


def test_an_unknown_server_has_only_its_wish() -> None:
    assert a_record().preferred_ports("postgres", 5432) == [5432]
