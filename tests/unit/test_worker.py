from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import pytest

from eventsource import App
from eventsource.domain import Aggregate, Command, Event, creates
from eventsource.errors import SettingsError
from eventsource.settings import KafkaSettings, Settings, WorkerSettings
from eventsource.worker import Worker, choose


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


class Open(Command, name="open"):
    pass


class Opened(Event, name="opened"):
    pass


class Account(Aggregate, name="account"):
    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened()

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls()


def test_a_worker_whose_state_folder_cannot_be_written_takes_nothing_and_says_so(tmp_path: Path) -> None:
    in_the_way = tmp_path / "stores"
    in_the_way.write_text("")
    settings = Settings(
        _env_file=None,
        kafka=KafkaSettings(bootstrap_servers="localhost:1"),  # not even asked
        worker=WorkerSettings(state_dir=in_the_way),
    )
    with pytest.raises(SettingsError, match=r"stores.*Not a directory.*EVENTSOURCE_WORKER__STATE_DIR"):
        Worker(App("bank", aggregates=[Account], partitions=1), settings).run()
