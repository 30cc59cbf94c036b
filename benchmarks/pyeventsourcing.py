"""The library `eventsourcing` on Postgres: load, deposit, save, one command after the other: `python -m benchmarks.pyeventsourcing`.

Every command is a transaction of its own, since that is how the library is used: the aggregate is loaded from its events, decides,
and its new event is saved under optimistic locking.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from benchmarks.children import end_with_parent, python_child, say
from benchmarks.servers import Servers
from eventsource.settings import load_settings

_SECONDS = 600.0
_COMMANDS_PER_ACCOUNT = 50
_NAMESPACE = "pyeventsourcing"


def is_installed() -> bool:
    """Whether the library is here; it is no dependency of the framework."""
    return all(importlib.util.find_spec(name) is not None for name in ("eventsourcing", "psycopg_pool"))


def commands_per_second(found: Servers, commands: int) -> float:
    """Runs it in a process of its own. Raises `ChildFailed`."""
    arguments = ["--commands", str(commands)]
    with python_child(
        "pyeventsourcing", "benchmarks.pyeventsourcing", arguments, found.environment(_NAMESPACE)
    ) as child:
        return float(child.wait_for("measured", _SECONDS)["commands_per_second"])


def _application(url: str) -> Any:
    from eventsourcing.application import Application

    found = conninfo_to_dict(url)
    return Application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(found["dbname"]),
            "POSTGRES_HOST": str(found["host"]),
            "POSTGRES_PORT": str(found["port"]),
            "POSTGRES_USER": str(found["user"]),
            "POSTGRES_PASSWORD": str(found.get("password", "")),
        }
    )


def _account_class() -> Any:
    from eventsourcing.domain import Aggregate, event

    class Account(Aggregate):
        @event("Opened")
        def __init__(self, account_id: str, amount: int, ref: str) -> None:
            self.account_id, self.balance, self.ref = account_id, amount, ref

        @event("Deposited")
        def deposit(self, account_id: str, amount: int, ref: str) -> None:
            self.account_id, self.balance, self.ref = account_id, self.balance + amount, ref

    return Account


def main() -> None:
    parser = argparse.ArgumentParser(description="Handles commands with pyeventsourcing on Postgres.")
    parser.add_argument("--commands", type=int, required=True)
    commands = parser.parse_args().commands
    end_with_parent()
    application, account_class = _application(load_settings().postgres.url), _account_class()
    accounts = [
        account_class(account_id=f"acc-{number}", amount=5, ref="r")
        for number in range(max(1, commands // _COMMANDS_PER_ACCOUNT))
    ]
    application.save(*accounts)
    began = time.monotonic()
    for number in range(commands):
        account: Any = application.repository.get(accounts[number % len(accounts)].id)
        account.deposit(account_id=account.account_id, amount=5, ref=f"r{number}")
        application.save(account)
    seconds = time.monotonic() - began
    application.close()
    say("measured", commands_per_second=commands / seconds)


if __name__ == "__main__":
    main()
