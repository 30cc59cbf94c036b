"""Whether today's events can read what was written, on schemas alone; and the file of schemas that a team keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eventsource import Aggregate, Command, Event, applies, creates
from eventsource.errors import SettingsError
from eventsource.schemas import COMMAND_ROLE
from eventsource.schemas.history_check import unreadable_history
from eventsource.schemas.recorded_schemas import read_schemas, todays_events, write_schemas
from tests.evolutions import BREAKING, COMPATIBLE, RENAMED, Evolution, notebook

WRITTEN = todays_events({"notebook": notebook()})
WITHOUT_ROLES = [replace(each, roles=frozenset()) for each in WRITTEN]


@pytest.mark.parametrize("written", [WRITTEN, WITHOUT_ROLES], ids=["with roles", "without"])
@pytest.mark.parametrize("change", BREAKING.values(), ids=BREAKING.keys())
def test_a_breaking_change_names_event_field_and_remedy(change: Evolution, written: Any) -> None:
    (found,) = unreadable_history({"notebook": notebook(change)}, written)
    assert "event 'noted' of notebook" in str(found)
    assert f"noted.{change.says}" in str(found)
    assert not found.missing


@pytest.mark.parametrize("written", [WRITTEN, WITHOUT_ROLES], ids=["with roles", "without"])
@pytest.mark.parametrize("change", COMPATIBLE.values(), ids=COMPATIBLE.keys())
def test_a_compatible_change_passes(change: Evolution, written: Any) -> None:
    assert unreadable_history({"notebook": notebook(change)}, written) == []


def test_a_class_that_is_gone_is_told_from_one_that_cannot_read() -> None:
    (found,) = unreadable_history({"notebook": notebook(RENAMED)}, WRITTEN)
    assert found.missing
    assert "keep the class, or give its successor the old name in aliases" in found.reason
    # Without a role it may be a command's.
    assert unreadable_history({"notebook": notebook(RENAMED)}, WITHOUT_ROLES) == []


def test_another_aggregates_event_and_a_command_of_the_same_name_are_not_taken_for_this_one() -> None:
    change = BREAKING["a field added without a default"]
    today = {"notebook": notebook(change)}
    for roles in ({"event:diary"}, {COMMAND_ROLE}):
        assert unreadable_history(today, [replace(each, roles=frozenset(roles)) for each in WRITTEN]) == []
    both = [replace(each, roles=frozenset({"event:diary", "event:notebook"})) for each in WRITTEN]
    assert [each.aggregate for each in unreadable_history(today, both)] == ["notebook"]


def test_without_roles_one_class_of_the_name_that_reads_it_is_enough() -> None:
    class Open(Command, name="open"):
        pass

    class Noted(Event, name="noted"):
        pass

    class Diary(Aggregate, name="diary"):
        @creates
        @classmethod
        def open(cls, command: Open) -> Noted:
            return Noted()

        @creates
        @classmethod
        def on_noted(cls, event: Noted) -> Diary:
            return cls()

        @applies
        def on_noted_again(self, event: Noted) -> None:
            pass

    aggregates: Any = {"notebook": notebook(BREAKING["a type changed"]), "diary": Diary}
    assert unreadable_history(aggregates, WITHOUT_ROLES) == []
    assert len(unreadable_history(aggregates, WRITTEN)) == 1


def test_schemas_are_kept_in_a_file_with_those_of_before(tmp_path: Path) -> None:
    file = tmp_path / "schemas.json"
    assert write_schemas(file, [*WITHOUT_ROLES, *WRITTEN]) == 1
    found = read_schemas(file)
    assert found == WRITTEN
    assert found[0].roles == {"event:notebook"}
    newer = todays_events({"notebook": notebook(COMPATIBLE["a field added with a default"])})
    assert write_schemas(file, [*found, *newer]) == 2
    assert {each.fingerprint for each in read_schemas(file)} == {each.fingerprint for each in [*WRITTEN, *newer]}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schemas": [{}]}', '{"schemas": [{"schema": {}, "roles": []}]}', "[" * 9_999]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "schemas.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match="eventsource schemas record"):
        read_schemas(file)
    with pytest.raises(SettingsError, match="eventsource schemas record"):
        read_schemas(tmp_path / "missing.json")


def test_a_schema_in_a_file_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "schemas.json"
    write_schemas(file, WRITTEN)
    document = json.loads(file.read_text())
    document["schemas"][0]["schema"]["fields"][0]["default"] = 1
    file.write_text(json.dumps(document))
    with pytest.raises(SettingsError, match="canonical"):
        read_schemas(file)
