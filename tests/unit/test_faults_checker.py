"""The checker of the fault tests, fed with logs and histories that are broken on purpose: every invariant is seen to break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.log.partitioner import partition_for
from tests.faults.checker import Checker, Evidence, LoggedCommand, LoggedEvent, LoggedOutcome
from tests.faults.history import OK, UNKNOWN, History, Invocation, Result, read_history
from tests.faults.ledger import (
    PARTITIONS,
    Account,
    Deposit,
    Deposited,
    Open,
    Opened,
    Save,
    Saved,
    SetAside,
    Withdraw,
)

ID = "a0"
HOME = partition_for(ID.encode(), PARTITIONS)
OTHER = 1 - HOME

COMMANDS = [
    LoggedCommand((HOME, 0), ID, "open", Open(owner="Ada")),
    LoggedCommand((HOME, 1), ID, "deposit", Deposit(amount=10)),
    LoggedCommand((HOME, 2), ID, "save", Save(amount=4)),
    LoggedCommand((HOME, 3), ID, "withdraw", Withdraw(amount=100)),
    LoggedCommand((HOME, 4), ID, "deposit", Deposit(amount=10)),  # sent again
]
EVENTS = [
    LoggedEvent((HOME, 0), ID, 1, "open", 1, 1, (HOME, 0), Opened(owner="Ada")),
    LoggedEvent((HOME, 2), ID, 2, "deposit", 1, 1, (HOME, 1), Deposited(amount=10)),
    LoggedEvent((HOME, 4), ID, 3, "save", 1, 2, (HOME, 2), SetAside(amount=4)),
    LoggedEvent((HOME, 5), ID, 4, "save", 2, 2, (HOME, 2), Saved(amount=4)),
]
OUTCOMES = [LoggedOutcome((HOME, 0), ID, "withdraw", (HOME, 3), Status.REJECTED)]
REPLIES = [
    Reply("open", Status.ACCEPTED, HOME, 0, 1),
    Reply("deposit", Status.ACCEPTED, HOME, 2, 2),
    Reply("save", Status.ACCEPTED, HOME, 5, 4),
    Reply("withdraw", Status.REJECTED, HOME, 5, 4, "insufficient_funds", '{"available":6}'),
    Reply("deposit", Status.ACCEPTED, HOME, 2, 2),
]
WHOLE = Evidence(
    partitions=PARTITIONS,
    commands=COMMANDS,
    events=EVENTS,
    outcomes=OUTCOMES,
    replies=REPLIES,
    committed={HOME: 5, OTHER: None},
    ends={HOME: 5, OTHER: 0},
)
HISTORY: list[Invocation | Result] = [
    Invocation("open", 1, 0, ID, "open"),
    Result("open", 1, OK, 1, HOME, 0),
    Invocation("deposit", 1, 0, ID, "deposit", 10),
    Result("deposit", 1, UNKNOWN),
    Invocation("deposit", 2, 1, ID, "deposit", 10),
    Result("deposit", 2, OK, 2, HOME, 2),
    Invocation("save", 1, 0, ID, "save", 4),
    Result("save", 1, OK, 4, HOME, 5),
    Invocation("withdraw", 1, 0, ID, "withdraw", 100),
    Result("withdraw", 1, "InsufficientFunds"),
]


def broken(evidence: Evidence, history: list[Invocation | Result] | None = None) -> dict[str, list[str]]:
    """What is reported, by invariant."""
    found: dict[str, list[str]] = {}
    for violation in Checker(Account, evidence, HISTORY if history is None else history).violations():
        found.setdefault(violation.invariant, []).append(violation.text)
    return found


def without(items: list[Any], index: int) -> list[Any]:
    return items[:index] + items[index + 1 :]


def test_a_whole_log_breaks_nothing() -> None:
    assert broken(WHOLE) == {}
    assert broken(Evidence(partitions=PARTITIONS), []) == {}


# --- I1 ----------------------------------------------------------------------------------------------------------


def test_a_gap_in_the_versions_is_seen() -> None:
    found = broken(replace(WHOLE, events=[*EVENTS[:3], replace(EVENTS[3], version=5)]))
    assert found["I1"] == [f"{ID} has a gap: version 5 at {(HOME, 5)}, where 4 was due"]


def test_a_repeated_version_is_seen() -> None:
    fork = replace(EVENTS[3], place=(HOME, 7), command_id="fork", index=1, count=1)
    assert broken(replace(WHOLE, events=[*EVENTS, fork]))["I1"] == [
        f"{ID} has a repeat: version 4 at {(HOME, 7)}, where 5 was due"
    ]


def test_an_event_in_another_partition_is_seen() -> None:
    found = broken(replace(WHOLE, events=[replace(EVENTS[0], place=(OTHER, 0)), *EVENTS[1:]]))
    assert found["I1"] == [f"{ID} has events in [{OTHER}], and belongs to partition {HOME}"]


# --- I2 ----------------------------------------------------------------------------------------------------------


def test_an_ok_without_events_is_seen() -> None:
    lost = replace(WHOLE, events=EVENTS[:2], aborted=frozenset({(HOME, 5)}))
    found = broken(lost)["I2"]
    assert (
        f"the reply to save is OK and its events are nowhere: it names {(HOME, 5)}, whose transaction was aborted"
        in found
    )
    assert any("the result to save" in text for text in found)


def test_an_ok_that_only_its_client_heard_of_is_seen() -> None:
    found = broken(replace(WHOLE, events=EVENTS[:2], replies=REPLIES[:2]))["I2"]
    assert found == [f"the result to save is OK and its events are nowhere: it names {(HOME, 5)}"]


def test_an_ok_that_names_another_place_or_version_is_seen() -> None:
    elsewhere = [*REPLIES[:2], REPLIES[2]._replace(offset=7), *REPLIES[3:]]
    assert broken(replace(WHOLE, replies=elsewhere)).keys() == {"I2"}
    older = [*REPLIES[:2], REPLIES[2]._replace(version=3), *REPLIES[3:]]
    assert broken(replace(WHOLE, replies=older)).keys() == {"I2"}


def test_events_of_a_command_that_was_refused_are_seen() -> None:
    refused = [REPLIES[0], Reply("deposit", Status.FAILED, HOME, 0, 1), REPLIES[2], REPLIES[3]]
    assert (
        f"the reply to deposit says that it failed, and its events are at [{(HOME, 2)}]"
        in broken(replace(WHOLE, replies=refused))["I2"]
    )


def test_a_refusal_without_an_outcome_is_seen() -> None:
    assert "the reply to withdraw has no outcome" in broken(replace(WHOLE, outcomes=[]))["I2"]


def test_a_command_that_took_effect_twice_is_seen() -> None:
    again = replace(EVENTS[1], place=(HOME, 7), version=5, origin=(HOME, 4))
    found = broken(replace(WHOLE, events=[*EVENTS, again]))
    assert f"command deposit has its events [1] more than once: {[(HOME, 2), (HOME, 7)]}" in found["I2"]
    assert "I1" not in found  # the versions alone do not show it


def test_two_outcomes_or_an_outcome_besides_events_are_seen() -> None:
    twice = [*OUTCOMES, replace(OUTCOMES[0], place=(HOME, 2))]
    assert f"command withdraw has 2 outcomes: {[(HOME, 0), (HOME, 2)]}" in broken(replace(WHOLE, outcomes=twice))["I2"]
    both = [*OUTCOMES, LoggedOutcome((HOME, 2), ID, "deposit", (HOME, 4), Status.FAILED)]
    assert (
        f"command deposit has events at {(HOME, 2)} and an outcome at {(HOME, 2)}"
        in broken(replace(WHOLE, outcomes=both))["I2"]
    )


def test_two_different_answers_to_one_command_are_seen() -> None:
    changed = [*REPLIES, REPLIES[3]._replace(details='{"available":7}')]
    found = broken(replace(WHOLE, replies=changed))
    assert list(found) == ["I2"]
    assert found["I2"][0].startswith("command withdraw was answered in 2 ways")


def test_an_effect_without_its_command_is_seen() -> None:
    stray = replace(WHOLE, commands=[replace(COMMANDS[0], command_id="another"), *COMMANDS[1:]])
    assert f"what stands at {(HOME, 0)} comes from {(HOME, 0)}, where no command open stands" in broken(stray)["I2"]


# --- I3 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [2, 3])
def test_half_a_command_is_seen(missing: int) -> None:
    found = broken(replace(WHOLE, events=without(EVENTS, missing)))
    left = 3 - EVENTS[missing].index
    assert f"command save has events [{left}] of 2" in found["I3"]


def test_events_without_their_offset_are_seen() -> None:
    found = broken(replace(WHOLE, committed={HOME: 2}))
    assert f"{(HOME, 4)} shows what came of the command at {(HOME, 2)}, and the committed offset is 2" in found["I3"]


def test_an_offset_without_its_events_is_seen() -> None:
    found = broken(replace(WHOLE, outcomes=[], replies=REPLIES[:3]), HISTORY[:8])
    assert found["I3"] == [f"command withdraw at {(HOME, 3)} lies below the committed offset and left no trace"]


def test_a_repetition_that_took_effect_in_the_place_of_its_first_is_seen() -> None:
    late = replace(EVENTS[1], origin=(HOME, 4))
    assert any(
        "comes from elsewhere" in text or "come from elsewhere" in text
        for text in broken(replace(WHOLE, events=[EVENTS[0], late, *EVENTS[2:]]))["I3"]
    )


# --- I4 ----------------------------------------------------------------------------------------------------------


def test_money_that_vanished_is_seen() -> None:
    found = broken(replace(WHOLE, events=without(EVENTS, 3)))
    assert f"{ID} holds 6, and by what its clients were told it holds 10" in found["I4"]


def test_money_that_nobody_was_told_of_is_seen() -> None:
    assert broken(WHOLE, HISTORY[:2])["I4"] == [f"{ID} holds 10, and by what its clients were told it holds 0"]


def test_a_history_without_its_beginning_is_seen() -> None:
    found = broken(replace(WHOLE, events=EVENTS[1:]))["I4"]
    assert any(text.startswith(f"{ID} cannot be folded at {(HOME, 2)}") for text in found)


def test_an_overdrawn_account_is_seen() -> None:
    drawn = replace(WHOLE, events=[*EVENTS[:2], replace(EVENTS[2], event=SetAside(amount=40)), EVENTS[3]])
    assert f"{ID} has the balance -30" in broken(drawn)["I4"]


def test_a_decision_on_a_state_that_never_was_is_seen() -> None:
    wrong = replace(WHOLE, events=[EVENTS[0], replace(EVENTS[1], event=Deposited(amount=11)), *EVENTS[2:]])
    assert any("leads to [Deposited(amount=10)] in its turn" in text for text in broken(wrong)["I4"])
    granted = replace(WHOLE, outcomes=[replace(OUTCOMES[0], status=Status.ACCEPTED)])
    assert any("is refused in its turn" in text for text in broken(granted)["I4"])


# --- I6, I7 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("committed", [3, 6])
def test_a_committed_offset_below_what_was_handled_or_past_the_end_is_seen(committed: int) -> None:
    assert len(broken(replace(WHOLE, committed={HOME: committed}))["I6"]) == 1


def test_a_lost_committed_offset_is_seen() -> None:
    assert broken(replace(WHOLE, committed={HOME: None}))["I6"] == [
        f"partition {HOME} has no committed offset, and commands up to 3 were handled"
    ]


def test_commands_that_nobody_handles_are_seen() -> None:
    assert broken(replace(WHOLE, ends={HOME: 7}))["I7"] == [f"partition {HOME} has commands up to 7, and 5 are handled"]


def test_an_open_transaction_is_seen() -> None:
    assert broken(replace(WHOLE, open=[("events", HOME)])) == {"I7": [f"a transaction is open in events[{HOME}]"]}


def test_a_history_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    for entry in HISTORY:
        history.note(entry)
    history.close()
    assert list(read_history(history.path)) == HISTORY
