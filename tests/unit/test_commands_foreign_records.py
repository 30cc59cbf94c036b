"""Records that others wrote into events and outcomes topics stop the aggregate under their key, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from eventsource.commands.handling import CommandHandling
from eventsource.commands.states import WHOLE_PARTITION
from eventsource.commands.status import Status
from eventsource.log.record import Record
from tests.counter_log import EVENTS, NOW_MS, OUTCOMES, Begin, Count, Log

IDS = "abc"
Headers = Sequence[tuple[str, bytes | None]]


@pytest.fixture
def log() -> Log:
    made = Log()
    owner = made.owner()
    for id_ in IDS:
        made.take(
            owner,
            made.command(f"begin-{id_}", Begin(), id_),
            made.command(f"several-{id_}", Count(times=3), id_),
            made.command(f"none-{id_}", Count(times=0), id_),
            made.command(f"refused-{id_}", Count(times=-1), id_),
            made.command(f"one-{id_}", Count(), id_),
        )
    return made


def insert(log: Log, topic: str, place: int, record: Record) -> None:
    """A foreign record among the others: offsets go up, and have gaps."""
    records = log.records[topic]
    place = min(place, len(records))
    before = records[place - 1].offset if place else 0
    records.insert(place, record._replace(offset=before + 1))


def states(owner: CommandHandling) -> dict[str, object]:
    return {id_: vars(current.state) for id_ in IDS if (current := owner.states.find(id_)) is not None}


def statuses(log: Log, owner: CommandHandling) -> dict[str, Status]:
    log.offset += 10
    replies = {id_: log.take(owner, log.command(f"next-{id_}-{log.offset}", Count(), id_)) for id_ in IDS}
    return {id_: reply[0].status for id_, reply in replies.items()}


FOREIGN = Record(EVENTS, 0, 0, NOW_MS, b"b", b"anything", ())


@pytest.mark.parametrize("topic", [EVENTS, OUTCOMES])
@pytest.mark.parametrize("place", [0, 2, 7])
@pytest.mark.parametrize(
    "record",
    [
        FOREIGN,
        FOREIGN._replace(value=None),
        FOREIGN._replace(value=b""),
        FOREIGN._replace(headers=(("es", None), ("ce_id", b"\xff"))),
        FOREIGN._replace(headers=(("es", b"\x01\x00\x02" + b"\xff" * 44),)),
    ],
    ids=["garbage", "tombstone", "empty", "null headers", "garbage headers"],
)
def test_what_cannot_be_read_stops_the_aggregate_under_its_key(
    log: Log, topic: str, place: int, record: Record
) -> None:
    whole = states(log.owner())
    insert(log, topic, place, record)
    owner = log.owner()
    assert set(owner.states.stopped) == {"b"}
    assert len(log.foreign) == 1
    assert f"{topic}[0]@" in log.foreign[0] or EVENTS in log.foreign[0]
    found = states(owner)
    assert {id_: found[id_] for id_ in "ac"} == {id_: whole[id_] for id_ in "ac"}
    assert statuses(log, owner) == {"a": Status.ACCEPTED, "b": Status.FAILED, "c": Status.ACCEPTED}


@pytest.mark.parametrize("topic", [EVENTS, OUTCOMES])
@pytest.mark.parametrize("key", [b"", b"\xff\xfe"], ids=["no key", "no text"])
def test_where_no_key_can_be_read_the_partition_is_stopped(log: Log, topic: str, key: bytes) -> None:
    insert(log, topic, 3, FOREIGN._replace(key=key))
    owner = log.owner()
    assert set(owner.states.stopped) == {WHOLE_PARTITION}
    assert set(statuses(log, owner).values()) == {Status.FAILED}
    (reply,) = log.take(owner, log.command("load", None))
    assert (reply.status, reply.code) == (Status.FAILED, "ForkDetected")
    assert "without a readable key" in reply.details


def test_an_event_between_those_of_another_aggregates_command_tears_nothing(log: Log) -> None:
    records = log.records[EVENTS]
    (first,) = [record for record in records if dict(record.headers)["ce_id"] == b"several-a/1.3"]
    (other,) = [record for record in records if dict(record.headers)["ce_id"] == b"several-b/1.3"]
    insert(log, EVENTS, records.index(first) + 1, other)
    owner = log.owner()
    assert set(owner.states.stopped) == {"b"}
    assert statuses(log, owner)["a"] is Status.ACCEPTED


def test_an_event_in_another_partition_stops_its_aggregate_there(log: Log) -> None:
    (begun,) = [r for r in log.records[EVENTS] if dict(r.headers)["ce_id"] == b"begin-a/1.1"]
    log.records[EVENTS] = [begun]
    log.records[OUTCOMES] = []
    owner = log.owner(partitions=8)
    assert set(owner.states.stopped) == {"a"}
    assert "belongs to another partition" in owner.states.stopped["a"]


def mutated(record: Record, chance: random.Random) -> Record:
    """A copy of a record that is broken, or only looks like the framework's."""

    def flipped(data: bytes | None) -> bytes | None:
        if not data:
            return chance.choice([None, b"", b"\x00"])
        broken = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        return chance.choice([bytes(broken), data[: chance.randrange(len(data))], data + b"\x00", None])

    headers = list(record.headers)
    match chance.randrange(6):
        case 0:
            return record._replace(value=flipped(record.value))
        case 1:
            return record._replace(key=flipped(record.key) or b"")
        case 2:
            return record._replace(headers=())
        case 3:
            headers.pop(chance.randrange(len(headers)))
        case _:
            place = chance.randrange(len(headers))
            headers[place] = headers[place][0], flipped(headers[place][1])
    return record._replace(headers=tuple(headers))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_written_stops_no_other_aggregate(log: Log, seed: int) -> None:
    chance = random.Random(seed)
    whole = states(log.owner())
    genuine = {topic: list(records) for topic, records in log.records.items()}
    for _ in range(50):
        topic = chance.choice([EVENTS, OUTCOMES])
        log.records = {name: list(records) for name, records in genuine.items()}
        source = chance.choice(genuine[chance.choice([EVENTS, OUTCOMES])])
        broken = mutated(source, chance)
        insert(log, topic, chance.randrange(len(genuine[topic])), broken)
        owner = log.owner()
        if WHOLE_PARTITION in owner.states.stopped:
            assert not broken.key.decode(errors="ignore") or broken.key.decode(errors="replace") != broken.key.decode(
                errors="ignore"
            )
            continue
        concerned = broken.key.decode(errors="replace")
        assert set(owner.states.stopped) <= {concerned}
        found = states(owner)
        answers = statuses(log, owner)
        for id_ in set(IDS) - {concerned}:
            assert found[id_] == whole[id_]
            assert answers[id_] is Status.ACCEPTED
