"""One command id has one answer, field by field, from whichever owner it comes: the first, and the next with or without its disk."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from eventsource.commands.handling import CommandHandling
from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from tests.counter_log import OUTCOMES, Begin, Count, Counted, Log


def workload() -> list[tuple[str, Any, str, int | None]]:
    """Each kind of answer, before and after the aggregate moves on."""
    commands: list[tuple[str, Any, str, int | None]] = [
        ("not-found", Count(), "a", None),
        ("nothing-yet", Count(), "b", None),
        ("begun", Begin(), "a", None),
    ]
    for turn in range(3):
        commands += [
            (f"one-{turn}", Count(), "a", None),
            (f"several-{turn}", Count(times=3), "a", None),
            (f"none-{turn}", Count(times=0), "a", None),
            (f"none-again-{turn}", Count(times=0), "a", None),
            (f"rejected-{turn}", Count(times=-1), "a", None),
            (f"conflict-{turn}", Count(), "a", 1),
            (f"failed-{turn}", Count(times=13), "a", None),
            (f"exists-{turn}", Begin(), "a", None),
            (f"stale-append-{turn}", Counted(), "a", 1),
            (f"loaded-{turn}", None, "a", None),
        ]
    return [*commands, ("last", Count(times=2), "a", None), ("begun-late", Begin(), "b", None)]


@pytest.mark.parametrize("seed", range(6))
def test_every_owner_gives_the_first_answer(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    log = Log()
    owner = log.owner(tmp_path / "db")
    commands = workload()
    first: list[Reply] = []
    start = 0
    checkpoint_at = chance.randrange(len(commands))
    while start < len(commands):
        size = chance.choice([1, 1, 2, 5, len(commands)])
        first += log.take(owner, *(log.command(*command) for command in commands[start : start + size]))
        if start <= checkpoint_at < start + size:
            owner.memory.checkpoint(0.0)
        start += size
    assert {reply.status for reply in first} == set(Status) - {Status.EXPIRED, Status.COMMAND_ID_REUSED}
    remembered = [(name, command, key, expected) for name, command, key, expected in commands if command is not None]
    wanted = [reply for reply in first if not reply.command_id.startswith("loaded")]

    def answers(of: CommandHandling) -> list[Reply]:
        return log.take(of, *(log.command(*command) for command in remembered))

    assert answers(owner) == wanted
    before = log.take(owner, log.command("load", None))
    owner.memory.close()
    without_disk = log.owner()
    assert answers(without_disk) == wanted
    with_disk = log.owner(tmp_path / "db")
    assert answers(with_disk) == wanted
    assert log.take(without_disk, log.command("load", None)) == before
    assert log.take(with_disk, log.command("load", None)) == before
    with_disk.memory.close()


def test_an_outcome_of_a_version_before_has_its_offset_where_the_aggregate_did_not_move_on() -> None:
    log = Log()
    owner = log.owner()
    first = log.take(owner, log.command("begun", Begin()), log.command("none", Count(times=0)))
    (record,) = log.records[OUTCOMES]
    outcome = log.codecs.outcomes.decode(record.value or b"")
    assert (outcome.offset, outcome.newest_command) == (-1, "begun")
    written_before = log.codecs.outcomes.encode(outcome.model_copy(update={"newest_command": ""}))
    log.records[OUTCOMES] = [record._replace(value=written_before)]
    assert log.take(log.owner(), log.command("none", Count(times=0))) == first[1:]


def test_a_command_whose_dict_comes_in_another_order_is_the_same_command() -> None:
    log = Log()
    owner = log.owner()
    log.take(owner, log.command("begun", Begin()))
    one, other = {"tea": 0.0, "pot": 2.0}, {"pot": 2.0, "tea": -0.0}
    for name, times, expected in (("accepted", 1, None), ("none", 0, None), ("rejected", -1, None), ("old", 1, 0)):
        (first,) = log.take(owner, log.command(name, Count(times=times, notes=one), "a", expected))
        for each in (owner, log.owner()):
            (again,) = log.take(each, log.command(name, Count(times=times, notes=other), "a", expected))
            # A reply names the bytes that it answers: a client finds its command by them.
            assert again._replace(body_hash=first.body_hash) == first
            assert again.body_hash != first.body_hash
            (reused,) = log.take(each, log.command(name, Count(times=times, notes={"tea": 1.0}), "a", expected))
            assert reused.status is Status.COMMAND_ID_REUSED
    (first,) = log.take(owner, log.command("append", Counted(notes=one), "a", 2))
    (again,) = log.take(log.owner(), log.command("append", Counted(notes=other), "a", 2))
    assert again._replace(body_hash=first.body_hash) == first
