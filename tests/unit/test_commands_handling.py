"""The core of the command side, without any I/O: order of checks, answers, and what a batch leaves behind."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any, Self

import pytest
from pydantic import Field
from structlog.testing import capture_logs

from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.deduplication import CLOCK_SKEW_MS
from eventsource.commands.handled import Handled
from eventsource.commands.handling import CommandHandling
from eventsource.commands.replaying import PartitionReplay
from eventsource.commands.reply import Reply, topic_crc
from eventsource.commands.status import OUTCOME_NAME, Outcome, Status
from eventsource.domain import Aggregate, Command, Context, Event, Rejected, applies, creates, decides
from eventsource.errors import BrokerUnavailable, OffsetLost
from eventsource.log.header_reading import read_event_headers, read_outcome_headers
from eventsource.log.headers import CommandHeaders, Trail, body_hash, command_headers
from eventsource.log.partitioner import partition_for
from eventsource.log.record import Outgoing, Record
from eventsource.schemas import MemorySchemaStore, MessageCodec
from eventsource.settings import MAX_TRANSACTION_COMMANDS

Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]
DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000
TOPIC_ID = bytes(range(16))
TOPIC_CRC = topic_crc("bank.account.commands")


class Open(Command, name="open"):
    owner: str


class Withdraw(Command, name="withdraw"):
    amount: Money


class Split(Command, name="split"):
    parts: int


class Opened(Event, name="opened"):
    owner: str
    actor: str


class Withdrawn(Event, name="withdrawn"):
    amount: Money


class TooMuch(Rejected, code="too_much"):
    available: Decimal


class Large(Rejected, code="large"):
    text: str


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


class Cut(BaseException):
    """What some libraries end a task by."""


class Account(Aggregate, name="account"):
    balance: Decimal = Decimal("10.00")

    @creates
    @classmethod
    def open(cls, command: Open, context: Context) -> Opened:
        return Opened(owner=command.owner, actor=context.actor or "")

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()

    @decides
    def withdraw(self, command: Withdraw) -> Withdrawn:
        if command.amount == Decimal(13):
            raise ZeroDivisionError("unlucky")
        if command.amount == Decimal(14):
            raise Large(text="x" * 2_000_000)
        if command.amount == Decimal(15):
            raise Unprintable
        if command.amount == Decimal(16):
            raise SystemExit
        if command.amount == Decimal(17):
            raise Cut
        if command.amount > self.balance:
            raise TooMuch(available=self.balance)
        return Withdrawn(amount=command.amount)

    @decides
    def split(self, command: Split) -> list[Withdrawn]:
        return [Withdrawn(amount=Decimal(1)) for _ in range(command.parts)]

    @applies
    def on_withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount
        if event.amount == Decimal(7):
            raise RuntimeError("cannot hold seven")


APP = App("bank", aggregates=[Account], partitions=4)
KEY = b"acc-1"
PARTITION = partition_for(KEY, 4)


class Partition:
    """A partition in memory: commands go in, a transaction's records and replies come out."""

    def __init__(self, *, window_ms: int | None = DAY_MS, max_event_bytes: int = 900_000) -> None:
        self.schemas = MemorySchemaStore()
        self.handling = CommandHandling(
            APP,
            Account,
            PARTITION,
            names=APP.names(),
            commands_topic_id=TOPIC_ID,
            codecs=AggregateCodecs(Account, self.schemas),
            window_ms=window_ms,
            max_event_bytes=max_event_bytes,
        )
        self.offset = 0
        self.log: dict[str, list[Record]] = {
            name: [] for name in ("bank.account.events", "bank.account.outcomes", "bank.account.dead-letters")
        }

    def command(self, command: Command, command_id: str | None = None, **changes: Any) -> Record:
        self.offset += 1
        headers = CommandHeaders(
            command_id=command_id or f"c-{self.offset}",
            type=changes.pop("type", command.message_name),
            source="/test",
            sent_at_ms=changes.pop("sent_at_ms", NOW_MS),
            expected_version=changes.pop("expected_version", None),
            reply_partition=0,
            client_id=b"c" * 16,
            trail=changes.pop("trail", Trail()),
        )
        value = MessageCodec(type(command), command.message_name, self.schemas).encode(command)
        fields = {"key": KEY, "partition": PARTITION, "timestamp_ms": NOW_MS, **changes}
        return Record(
            "bank.account.commands", offset=self.offset - 1, value=value, headers=command_headers(headers), **fields
        )

    def take(self, *batch: Record) -> list[Reply]:
        handled = self.handling.handle(batch)
        self.handling.commit(handled, self.write(handled))
        return [reply for _, _, data in self.handling.replies(handled) for reply in Reply.decode_all(data)]

    def write(self, handled: Handled) -> list[int]:
        return [self._append(outgoing) for outgoing in handled.records]

    def _append(self, outgoing: Outgoing) -> int:
        records = self.log[outgoing.topic]
        offset = 100 + 2 * len(records)
        records.append(
            Record(
                outgoing.topic,
                outgoing.partition,
                offset,
                NOW_MS,
                outgoing.key,
                outgoing.value,
                tuple(outgoing.headers),
            )
        )
        return offset

    def events(self) -> list[str]:
        return [read_event_headers(record.headers).type for record in self.log["bank.account.events"]]

    def outcomes(self) -> list[Outcome]:
        codec = MessageCodec(Outcome, OUTCOME_NAME, self.schemas)
        return [codec.decode(record.value or b"") for record in self.log["bank.account.outcomes"]]

    def successor(self, **changes: Any) -> Partition:
        """The partition as another owner rebuilds it from the log alone."""
        other = Partition(**changes)
        other.schemas, other.offset, other.log = self.schemas, self.offset, self.log
        other.handling = CommandHandling(
            APP,
            Account,
            PARTITION,
            names=APP.names(),
            commands_topic_id=TOPIC_ID,
            codecs=AggregateCodecs(Account, self.schemas),
            window_ms=changes.get("window_ms", DAY_MS),
            max_event_bytes=900_000,
        )
        other.replay = replay = PartitionReplay(  # type: ignore[attr-defined]
            Account, PARTITION, other.handling.memory, AggregateCodecs(Account, self.schemas), TOPIC_ID
        )
        replay.take_events(self.log["bank.account.events"])
        replay.take_outcomes(self.log["bank.account.outcomes"])
        replay.finish()
        return other


@pytest.fixture
def partition() -> Partition:
    return Partition()


def statuses(replies: list[Reply]) -> list[Status]:
    return [reply.status for reply in replies]


def test_a_command_becomes_events_and_a_reply_with_their_place(partition: Partition) -> None:
    (reply,) = partition.take(
        partition.command(Open(owner="Ada"), trail=Trail("cor", "cau", "ada", {"tenant": "blue"}))
    )
    assert reply == Reply("c-1", Status.ACCEPTED, PARTITION, 100, 1, topic_crc=TOPIC_CRC, body_hash=reply.body_hash)
    headers = read_event_headers(partition.log["bank.account.events"][0].headers)
    assert (headers.command_id, headers.index, headers.count, headers.version) == ("c-1", 1, 1, 1)
    assert (headers.origin.topic_id, headers.origin.partition, headers.origin.offset) == (TOPIC_ID, PARTITION, 0)
    assert headers.time_ms == NOW_MS
    assert headers.trail == Trail("cor", "", "ada", {"tenant": "blue"})


def test_a_batch_decides_each_command_on_what_the_ones_before_it_left(partition: Partition) -> None:
    replies = partition.take(
        partition.command(Open(owner="Ada")),
        partition.command(Withdraw(amount=Decimal(6))),
        partition.command(Withdraw(amount=Decimal(6))),
        partition.command(Withdraw(amount=Decimal(4))),
    )
    assert statuses(replies) == [Status.ACCEPTED, Status.ACCEPTED, Status.REJECTED, Status.ACCEPTED]
    assert [reply.version for reply in replies] == [1, 2, 2, 3]
    assert [reply.offset for reply in replies] == [100, 102, 102, 104]
    assert json.loads(replies[2].details) == {"available": "4.00"}
    assert replies[2].code == "too_much"
    assert partition.events() == ["opened", "withdrawn", "withdrawn"]


def test_several_events_are_numbered_i_of_n(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Ada")), partition.command(Split(parts=3)))
    numbered = [read_event_headers(record.headers) for record in partition.log["bank.account.events"]]
    assert [(headers.index, headers.count, headers.version) for headers in numbered] == [
        (1, 1, 1),
        (1, 3, 2),
        (2, 3, 3),
        (3, 3, 4),
    ]


def test_a_command_that_needs_no_event_leaves_an_outcome(partition: Partition) -> None:
    replies = partition.take(partition.command(Open(owner="Ada")), partition.command(Split(parts=0)))
    assert statuses(replies) == [Status.ACCEPTED, Status.ACCEPTED]
    assert [(outcome.status, outcome.version) for outcome in partition.outcomes()] == [(Status.ACCEPTED, 1)]


@pytest.mark.parametrize("apart", [False, True], ids=["in one batch", "in two batches"])
def test_a_repetition_has_no_effect_and_gets_the_first_answer(partition: Partition, *, apart: bool) -> None:
    batch = [partition.command(Open(owner="Ada"), "c-1"), partition.command(Open(owner="Ada"), "c-1")]
    replies = partition.take(batch[0]) + partition.take(batch[1]) if apart else partition.take(*batch)
    assert replies[0] == replies[1]
    assert (replies[0].status, replies[0].offset, replies[0].version) == (Status.ACCEPTED, 100, 1)
    assert partition.events() == ["opened"]
    assert partition.outcomes() == []


def test_a_rejection_stays_a_rejection_even_if_it_would_pass_now(partition: Partition) -> None:
    partition.take(partition.command(Withdraw(amount=Decimal(1)), "early"))
    partition.take(partition.command(Open(owner="Ada")))
    (reply,) = partition.take(partition.command(Withdraw(amount=Decimal(1)), "early"))
    assert reply.status is Status.NOT_FOUND


def test_another_body_under_a_known_id_is_refused_and_recorded_nowhere(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Ada"), "c-1"))
    (reply,) = partition.take(partition.command(Open(owner="Eve"), "c-1"))
    assert reply.status is Status.COMMAND_ID_REUSED
    assert (partition.events(), partition.outcomes()) == (["opened"], [])


@pytest.mark.parametrize("second", ["Ada", "Eve"], ids=["a repetition", "the id used again"])
def test_an_answer_names_the_content_that_it_answers(partition: Partition, second: str) -> None:
    batch = [partition.command(Open(owner="Ada"), "c-1"), partition.command(Open(owner=second), "c-1")]
    replies = partition.take(*batch)
    assert [reply.body_hash for reply in replies] == [body_hash(KEY, "open", record.value or b"") for record in batch]
    assert {reply.topic_crc for reply in replies} == {TOPIC_CRC}


def test_another_type_with_the_same_body_is_another_command(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Ada"), "c-1"))
    (reply,) = partition.take(partition.command(Open(owner="Ada"), "c-1", type="close"))
    assert reply.status is Status.COMMAND_ID_REUSED


def test_a_command_older_than_the_window_is_never_executed(partition: Partition) -> None:
    (reply,) = partition.take(partition.command(Open(owner="Ada"), sent_at_ms=NOW_MS - DAY_MS - 1))
    assert reply.status is Status.EXPIRED
    assert partition.events() == []


def test_a_known_id_is_answered_even_when_it_is_expired(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Ada"), "c-1"))
    (reply,) = partition.take(
        partition.command(Open(owner="Ada"), "c-1", timestamp_ms=NOW_MS + DAY_MS + 1),
    )
    assert reply.status is Status.ACCEPTED


def test_a_sender_whose_clock_is_far_ahead_is_refused(partition: Partition) -> None:
    (reply,) = partition.take(partition.command(Open(owner="Ada"), sent_at_ms=NOW_MS + CLOCK_SKEW_MS + 1))
    assert reply.status is Status.FAILED
    assert "clock" in reply.details


def test_the_expected_version_is_compared_within_the_batch(partition: Partition) -> None:
    replies = partition.take(
        partition.command(Open(owner="Ada"), expected_version=0),
        partition.command(Withdraw(amount=Decimal(1)), expected_version=1),
        partition.command(Withdraw(amount=Decimal(1)), expected_version=1),
    )
    assert statuses(replies) == [Status.ACCEPTED, Status.ACCEPTED, Status.VERSION_CONFLICT]
    assert (replies[2].version, json.loads(replies[2].details)) == (2, {"expected": 1})


def test_creating_twice_and_changing_what_is_not_there_are_told_apart(partition: Partition) -> None:
    replies = partition.take(
        partition.command(Withdraw(amount=Decimal(1))),
        partition.command(Open(owner="Ada")),
        partition.command(Open(owner="Eve")),
    )
    assert statuses(replies) == [Status.NOT_FOUND, Status.ACCEPTED, Status.ALREADY_EXISTS]


@pytest.mark.parametrize("amount", [Decimal(13), Decimal(7)], ids=["in decide", "in evolve"])
def test_a_handler_that_raises_fails_its_command_alone(partition: Partition, amount: Decimal) -> None:
    replies = partition.take(
        partition.command(Open(owner="Ada")),
        partition.command(Withdraw(amount=Decimal(1))),
        partition.command(Split(parts=1) if amount == 13 else Withdraw(amount=Decimal(1))),
        partition.command(Withdraw(amount=amount)),
        partition.command(Withdraw(amount=Decimal(8))),
    )
    assert statuses(replies) == [*[Status.ACCEPTED] * 3, Status.FAILED, Status.ACCEPTED]
    assert replies[3].code in ("ZeroDivisionError", "RuntimeError")
    assert partition.events() == ["opened", *["withdrawn"] * 3]
    current = partition.handling.states.find("acc-1")
    assert current is not None
    assert (current.version, current.state.balance) == (4, Decimal("0.00"))  # type: ignore[attr-defined]


def test_an_oversized_event_fails_its_command_before_anything_is_produced() -> None:
    partition = Partition(max_event_bytes=1_000)
    replies = partition.take(partition.command(Open(owner="A" * 1_000)), partition.command(Open(owner="Ada")))
    assert statuses(replies) == [Status.FAILED, Status.ACCEPTED]
    assert replies[0].code == "MessageTooLarge"


def test_a_long_command_id_counts_towards_an_events_size() -> None:
    partition = Partition(max_event_bytes=1_000)
    replies = partition.take(partition.command(Open(owner="Ada"), command_id="i" * 1_000))
    assert [reply.code for reply in replies] == ["MessageTooLarge"]
    assert partition.events() == []


@pytest.mark.parametrize(
    "changes",
    [{"type": "unheard-of"}, {"value": None}, {"value": b"\xc3\x01garbage"}, {"value": b""}],
    ids=["unknown type", "no value", "garbage", "empty"],
)
def test_an_undecodable_command_fails_alone(partition: Partition, changes: dict[str, Any]) -> None:
    good = partition.command(Open(owner="Ada"))
    value = changes.pop("value", b"kept")
    bad = partition.command(Open(owner="Eve"), **changes)
    if value != b"kept":
        bad = Record(bad.topic, bad.partition, bad.offset, bad.timestamp_ms, bad.key, value, bad.headers)
    assert statuses(partition.take(bad, good)) == [Status.FAILED, Status.ACCEPTED]


def test_a_record_without_our_headers_leaves_an_outcome_and_stops_nothing(partition: Partition) -> None:
    stray = Record("bank.account.commands", PARTITION, 77, NOW_MS, KEY, b"hello", ())
    replies = partition.take(stray, partition.command(Open(owner="Ada")))
    assert statuses(replies) == [Status.ACCEPTED]
    headers = read_outcome_headers(partition.log["bank.account.outcomes"][0].headers)
    assert headers.command_id == f"unreadable/{PARTITION}/77"


def test_a_misrouted_key_is_refused(partition: Partition) -> None:
    key = next(key for key in (b"a", b"b", b"c", b"d", b"e") if partition_for(key, 4) != PARTITION)
    (reply,) = partition.take(partition.command(Open(owner="Ada"), key=key))
    assert reply.status is Status.FAILED
    assert "murmur2" in reply.details


def test_a_rolled_back_batch_leaves_no_trace(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Ada")))
    again = [
        partition.command(Withdraw(amount=Decimal(6)), "w-1"),
        partition.command(Withdraw(amount=Decimal(6)), "w-2"),
    ]
    partition.handling.handle(again)
    partition.handling.rollback()
    assert statuses(partition.take(*again)) == [Status.ACCEPTED, Status.REJECTED]


OTHER_KEY = next(key for key in (b"acc-%d" % n for n in range(2, 100)) if partition_for(key, 4) == PARTITION)


def test_the_same_command_to_another_aggregate_is_another_command(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Ada"), "c-1"))
    (reply,) = partition.take(partition.command(Open(owner="Ada"), "c-1", key=OTHER_KEY))
    assert reply.status is Status.COMMAND_ID_REUSED


def test_a_key_that_is_no_text_is_refused_and_leaves_no_event(partition: Partition) -> None:
    key = next(key for key in (b"\xff%d" % n for n in range(100)) if partition_for(key, 4) == PARTITION)
    (reply,) = partition.take(partition.command(Open(owner="Ada"), key=key))
    assert (reply.status, reply.code) == (Status.FAILED, "HeaderError")
    assert partition.events() == []
    partition.successor()


@pytest.mark.parametrize(
    "amount", [14, 15, 16, 17], ids=["an oversized rejection", "an unprintable error", "an exit", "a cut"]
)
def test_user_code_that_misbehaves_fails_its_command_alone(partition: Partition, amount: int) -> None:
    replies = partition.take(
        partition.command(Open(owner="Ada")),
        partition.command(Withdraw(amount=Decimal(amount))),
        partition.command(Withdraw(amount=Decimal(1))),
    )
    assert statuses(replies) == [Status.ACCEPTED, Status.FAILED, Status.ACCEPTED]
    assert all(
        record.value is not None and len(record.value) < 10_000 for record in partition.log["bank.account.outcomes"]
    )


def test_metadata_that_leaves_no_room_for_the_outcome_is_left_out(partition: Partition) -> None:
    metadata = {str(n): "x" * 60_000 for n in range(20)}
    (reply,) = partition.take(partition.command(Withdraw(amount=Decimal(1)), trail=Trail(metadata=metadata)))
    assert (reply.status, reply.code) == (Status.FAILED, "MessageTooLarge")
    assert read_outcome_headers(partition.log["bank.account.outcomes"][0].headers).trail == Trail()


def test_a_command_that_was_found_unwritable_fails_and_the_next_goes_on(partition: Partition) -> None:
    command = partition.command(Open(owner="Ada"))
    partition.handling.refuse(command.offset, "the broker takes no record of that size")
    assert statuses(partition.take(command)) == [Status.FAILED]
    assert statuses(partition.take(partition.command(Open(owner="Eve")))) == [Status.ACCEPTED]


# --- take-over ---------------------------------------------------------------------------------------------------


def test_a_successor_gives_the_same_answers_from_the_log_alone(partition: Partition) -> None:
    commands = [
        (Open(owner="Ada"), "c-1"),
        (Withdraw(amount=Decimal(6)), "c-2"),
        (Withdraw(amount=Decimal(6)), "c-3"),
        (Open(owner="Eve"), "c-4"),
        (Split(parts=0), "c-5"),
        (Split(parts=2), "c-6"),
        (Withdraw(amount=Decimal(13)), "c-7"),
    ]
    first = partition.take(*(partition.command(command, command_id) for command, command_id in commands))
    successor = partition.successor()
    again = successor.take(*(successor.command(command, command_id) for command, command_id in commands))
    for before, after in zip(first, again, strict=True):
        assert (before.status, before.version, before.code, before.details) == (
            after.status,
            after.version,
            after.code,
            after.details,
        )
    assert len(partition.events()) == 4
    current = successor.handling.states.find("acc-1")
    assert current is not None
    assert (current.version, current.state.balance) == (4, Decimal("2.00"))  # type: ignore[attr-defined]


def test_the_clock_of_the_commands_leader_may_be_far_ahead(partition: Partition) -> None:
    ahead_ms = 2 * 3_600_000
    opened = partition.command(Open(owner="Ada"), timestamp_ms=NOW_MS + ahead_ms)
    refused = partition.command(Withdraw(amount=Decimal(99)), timestamp_ms=NOW_MS + ahead_ms)
    assert statuses(partition.take(opened, refused)) == [Status.ACCEPTED, Status.REJECTED]
    other = partition.successor()
    assert other.handling.states.stopped == {}
    assert statuses(other.take(opened, refused)) == [Status.ACCEPTED, Status.REJECTED]
    assert other.handling.known.newest_ms == NOW_MS  # what moves it further lets others forget what may be sent again
    assert statuses(other.take(other.command(Withdraw(amount=Decimal(1))))) == [Status.ACCEPTED]


def test_records_that_are_far_older_than_their_commands_are_logged_a_few_times(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Ada"), timestamp_ms=NOW_MS + DAY_MS))
    partition.take(partition.command(Split(parts=30), timestamp_ms=NOW_MS + DAY_MS))
    with capture_logs() as logs:
        assert partition.successor().handling.states.stopped == {}
    found = [entry for entry in logs if entry["event"] == "command_time_ahead"]
    assert [entry["ahead_seconds"] for entry in found] == [86_400] * 5


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_an_incomplete_command_stops_its_aggregate(partition: Partition, missing: int) -> None:
    partition.take(partition.command(Open(owner="Ada")), partition.command(Split(parts=3)))
    del partition.log["bank.account.events"][1 + missing]
    successor = partition.successor()
    (reply,) = successor.take(successor.command(Withdraw(amount=Decimal(1))))
    assert (reply.status, reply.code) == (Status.FAILED, "ForkDetected")


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_half_a_command_was_not_accepted_whoever_asks_again(partition: Partition, missing: int) -> None:
    partition.take(partition.command(Open(owner="Ada")), partition.command(Split(parts=3), "s-1"))
    del partition.log["bank.account.events"][1 + missing]
    successor = partition.successor()
    (reply,) = successor.take(successor.command(Split(parts=3), "s-1"))
    assert (reply.status, reply.code) == (Status.FAILED, "ForkDetected")


def test_a_replay_that_was_interrupted_inside_a_command_goes_on_where_it_was(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition.take(partition.command(Open(owner="Ada")), partition.command(Split(parts=2)))
    successor = Partition()
    successor.schemas = partition.schemas
    codecs = AggregateCodecs(Account, partition.schemas)
    replay = PartitionReplay(Account, PARTITION, successor.handling.memory, codecs, TOPIC_ID)
    first, second, third = partition.log["bank.account.events"]
    replay.take_events([first])
    replay.take_events([second])
    assert third.value is not None
    with monkeypatch.context() as patched:
        patched.setattr(partition.schemas, "get", unreachable)
        with pytest.raises(BrokerUnavailable):
            replay.take_events([third._replace(value=b"\xc3\x01 another" + third.value[10:])])
    replay.take_events([third])
    replay.finish()
    assert successor.handling.states.stopped == {}


def unreachable(fingerprint: int, *, patience_seconds: float | None = None) -> None:
    raise BrokerUnavailable("the schemas topic cannot be read just now")


def test_a_torn_end_of_the_log_stops_its_aggregate(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Ada")), partition.command(Split(parts=3)))
    del partition.log["bank.account.events"][2:]
    assert "only 1 of 3" in partition.successor().handling.states.stopped["acc-1"]


@pytest.mark.parametrize("fault", ["gap", "repeat"])
def test_a_gap_or_a_repeat_stops_its_aggregate(partition: Partition, fault: str) -> None:
    for _ in range(3):
        partition.take(partition.command(Split(parts=1)) if partition.offset else partition.command(Open(owner="Ada")))
    records = partition.log["bank.account.events"]
    if fault == "gap":
        del records[1]
    else:
        records.append(records[-1])
    assert fault in partition.successor().handling.states.stopped["acc-1"]


def replay_of(partition: Partition) -> PartitionReplay:
    return partition.successor().replay  # type: ignore[attr-defined, no-any-return]


def test_a_lost_committed_offset_stops_the_partition(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Ada")))
    with pytest.raises(OffsetLost, match="no committed offset"):
        replay_of(partition).check_committed(None, 1)


def test_a_fresh_partition_needs_no_committed_offset(partition: Partition) -> None:
    replay_of(partition).check_committed(None, 5)


def test_an_offset_one_batch_behind_is_healed_and_more_is_refused(partition: Partition) -> None:
    partition.take(partition.command(Open(owner="Ada")))
    partition.offset = 50_000
    partition.take(partition.command(Split(parts=1)))
    replay = replay_of(partition)
    replay.check_committed(50_000 - MAX_TRANSACTION_COMMANDS + 1, 50_001)
    with pytest.raises(OffsetLost, match="lies below 50000"):
        replay.check_committed(50_000 - MAX_TRANSACTION_COMMANDS, 50_001)


def test_an_offset_past_the_end_means_that_commands_were_lost(partition: Partition) -> None:
    with pytest.raises(OffsetLost, match="past the end"):
        replay_of(partition).check_committed(6, 5)
