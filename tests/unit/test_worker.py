from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from eventsource import App
from eventsource.errors import SettingsError
from eventsource.worker import choose


@dataclass(frozen=True)
class FakeConsumer:
    consumer_name: str
    consumer_kind: str


@dataclass(frozen=True)
class FakeApp:
    name: str
    aggregates: dict[str, Any]
    consumers: dict[str, FakeConsumer]


BANK = cast(
    App,
    FakeApp(
        "bank",
        {"account": object, "transfer": object},
        {
            "balances": FakeConsumer("balances", "projection"),
            "transfer": FakeConsumer("transfer", "saga"),
            "mailer": FakeConsumer("mailer", "reactor"),
        },
    ),
)
EVERYTHING = [
    ("commands", "account"),
    ("commands", "transfer"),
    ("projection", "balances"),
    ("saga", "transfer"),
    ("reactor", "mailer"),
]


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        ([], EVERYTHING),
        (["commands"], EVERYTHING[:2]),
        (["projections"], EVERYTHING[2:3]),
        (["sagas", "reactors"], EVERYTHING[3:]),
        (["account"], EVERYTHING[:1]),
        (["balances", "commands"], EVERYTHING[:3]),
        (["transfer"], [EVERYTHING[1], EVERYTHING[3]]),
        (["saga/transfer"], [EVERYTHING[3]]),
    ],
)
def test_only_chooses_by_kind_and_by_name(only: list[str], chosen: list[tuple[str, str]]) -> None:
    assert choose(BANK, only) == chosen


def test_a_choice_that_fits_nothing_names_what_there_is() -> None:
    with pytest.raises(SettingsError) as caught:
        choose(BANK, ["commands", "blances"])
    assert str(caught.value) == (
        "--only blances: app 'bank' has no such thing: choose among commands, projections, sagas, reactors, account, transfer, "
        "balances, mailer"
    )
