"""Following a growing log."""

from __future__ import annotations

from pathlib import Path

from eventsource.cli.follow import LogFollower


def test_only_what_is_added_is_followed(tmp_path: Path) -> None:
    log = tmp_path / "kafka-1.log"
    log.write_text("old\n")
    follower = LogFollower(log, "kafka-1")
    with log.open("a") as file:
        file.write("new\nhalf")
        file.flush()
        assert follower.new_lines() == ["kafka-1 | new"]
        file.write(" and half\n")
        file.flush()
    assert follower.new_lines() == ["kafka-1 | half and half"]
    assert follower.new_lines() == []


def test_a_log_that_does_not_exist_yet_is_followed_from_its_first_line(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    follower = LogFollower(log, "postgres")
    assert follower.new_lines() == []
    log.write_text("first\n")
    assert follower.new_lines() == ["postgres | first"]


def test_a_log_that_was_rotated_is_followed_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "kafka-1.log"
    log.write_text("a long line\n")
    follower = LogFollower(log, "kafka-1")
    log.write_text("short\n")
    assert follower.new_lines() == ["kafka-1 | short"]
