"""What `bound` gives requests: the same from a client and from a `TestApp`."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime

import pytest

from eventsource.commands.client import Client
from eventsource.commands.defaults import NO_DEFAULTS
from eventsource.errors import InvalidArgument
from eventsource.testing import TestApp, VirtualClock
from examples.bank import Account, Deposit, OpenAccount, bank


def test_the_call_goes_before_the_view_and_metadata_is_merged() -> None:
    defaults = NO_DEFAULTS.bound(
        timeout=3, actor="ada", correlation_id="c-1", causation_id="", metadata={"tenant": "t-1", "shard": "a"}
    )
    trail = defaults.trail("", "cause", "", {"shard": "b", "more": "c"})
    assert (trail.actor, trail.correlation_id, trail.causation_id) == ("ada", "c-1", "cause")
    assert dict(trail.metadata) == {"tenant": "t-1", "shard": "b", "more": "c"}
    assert defaults.trail("c-2", "", "bea", None).actor == "bea"
    assert defaults.trail("c-2", "", "bea", None).correlation_id == "c-2"
    assert (defaults.timeout(None, 30.0), defaults.timeout(1, 30.0)) == (3, 1)
    assert NO_DEFAULTS.timeout(None, 30.0) == 30.0


def test_a_view_of_a_view_adds_to_it() -> None:
    first = NO_DEFAULTS.bound(timeout=3, actor="ada", correlation_id="", causation_id="", metadata={"tenant": "t-1"})
    second = first.bound(timeout=None, actor="bea", correlation_id="c", causation_id="", metadata={"shard": "a"})
    assert (second.timeout_seconds, second.actor, second.metadata) == (3, "bea", {"tenant": "t-1", "shard": "a"})
    assert first.metadata == {"tenant": "t-1"}


@pytest.mark.parametrize(
    "wrong", [{"timeout": -1}, {"timeout": "3"}, {"actor": 7}, {"metadata": {"tenant": 1}}, {"metadata": "tenant"}]
)
def test_what_no_request_could_be_given_is_refused_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        TestApp(bank).bound(**wrong)  # type: ignore[arg-type]  # on purpose


def test_a_call_is_checked_as_without_a_view() -> None:
    app = TestApp(bank).bound(metadata={"tenant": "t-1"})
    with pytest.raises(InvalidArgument):
        app.send(Account, "7", OpenAccount(), metadata="tenant")  # type: ignore[arg-type]  # on purpose


def test_a_view_shares_everything_with_its_app() -> None:
    app = TestApp(bank, clock=VirtualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    view = app.bound(actor="ada", timeout=3)
    opened = view.send(Account, "7", OpenAccount())
    paid = app.send(Account, "7", Deposit(amount=5), expected_version=1)
    assert (opened.command_id, paid.command_id) == ("command-1", "command-2")
    assert len(view.events()) == len(app.events()) == 2
    assert view.load(Account, "7").version == 2


def test_client_and_test_app_bind_the_same() -> None:
    assert inspect.signature(Client.bound).parameters == inspect.signature(TestApp.bound).parameters
