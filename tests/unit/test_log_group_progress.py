from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from eventsource.log.group_progress import GroupProgress


class Member:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.state = "up"
        self.progress = GroupProgress("g", 6.0, 18.0, lambda: self.seconds)

    def at(self, seconds: float, join_state: str | None = None) -> GroupProgress:
        self.seconds = seconds
        if join_state is not None:
            self.progress.statistics(json.dumps({"cgrp": {"state": self.state, "join_state": join_state}}))
        return self.progress


@pytest.fixture
def member() -> Member:
    return Member()


def test_nothing_is_assigned_before_the_group_says_so(member: Member) -> None:
    assert not member.at(5.0, "wait-join").is_settled(owns_any=False)
    assert member.progress.unassigned_seconds() == 5.0
    member.progress.note_assignment()
    assert member.progress.is_settled(owns_any=True)
    assert member.progress.unassigned_seconds() == 0.0


def test_a_loss_is_taken_back_by_the_next_assignment_alone(member: Member) -> None:
    member.progress.note_assignment()
    member.at(10.0, "steady").note_loss()
    assert not member.at(11.0, "steady").is_settled(owns_any=False)
    assert not member.at(100.0, "steady").is_settled(owns_any=True)
    assert member.progress.unassigned_seconds() == 90.0
    member.progress.note_assignment()
    assert member.progress.is_settled(owns_any=True)


def test_a_rebalance_longer_than_a_session_counts_as_no_assignment(member: Member) -> None:
    member.progress.note_assignment()
    assert member.at(1.0, "wait-join").is_settled(owns_any=True)
    assert member.at(6.9, "wait-join").is_settled(owns_any=True)
    assert not member.at(7.0, "wait-sync").is_settled(owns_any=True)
    assert member.progress.unassigned_seconds() == 6.0
    assert member.at(8.0, "steady").is_settled(owns_any=True)


def test_a_member_without_partitions_is_a_spare_once_none_can_be_on_their_way(member: Member) -> None:
    member.progress.note_assignment()
    assert not member.at(17.9, "steady").is_settled(owns_any=False)
    assert member.at(18.0, "steady").is_settled(owns_any=False)
    member.progress.note_assignment()  # another rebalance, and still none
    assert not member.at(19.0, "steady").is_settled(owns_any=False)
    assert member.at(36.0, "steady").is_settled(owns_any=False)


def test_a_group_without_progress_is_reported_once_a_minute_and_its_end_too(member: Member) -> None:
    with capture_logs() as logs:
        for second in range(100):
            member.at(float(second), "wait-join").look()
        member.progress.note_assignment()
        member.progress.look()
        member.progress.look()
    assert [(line["event"], line.get("seconds")) for line in logs] == [
        ("group_without_progress", 15),
        ("group_without_progress", 75),
        ("group_makes_progress", None),
    ]


def test_a_group_whose_coordinator_is_away_is_part_of_an_outage(member: Member) -> None:
    with capture_logs() as logs:
        member.at(20.0, "wait-join").look()
        member.state = "wait-broker-transport"
        member.at(90.0, "init").look()
    assert [line["about"] for line in logs] == ["g", "kafka"]


def test_statistics_without_a_group_say_nothing(member: Member) -> None:
    member.progress.statistics("{}")
    assert not member.progress.assigned
