"""The bank's import as a user runs it: a process of its own, on a real broker and Postgres."""

from __future__ import annotations

import csv
import gzip
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from eventsource.settings import KafkaSettings, Settings
from eventsource.testing.stack import SessionStack
from examples.bank import bank
from examples.bank.audit import Audit, audit

HEADER = "transaction_id,account_id,date,kind,operation,purpose,amount,balance"
ROW = "171812,576,1993-01-01,credit,cash deposit,,900.00,900.00"
RUN_SECONDS = 120.0
ROWS = 2_000

Import = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def root(request: pytest.FixtureRequest) -> Path:
    return request.config.rootpath


@pytest.fixture
def environment(eventsource_stack: SessionStack, eventsource_namespace: str) -> dict[str, str]:
    return {**os.environ, **eventsource_stack.environment, "EVENTSOURCE_NAMESPACE": eventsource_namespace}


@pytest.fixture
def settings(eventsource_stack: SessionStack, eventsource_namespace: str) -> Settings:
    kafka = KafkaSettings(bootstrap_servers=eventsource_stack.bootstrap_servers)
    return Settings(_env_file=None, namespace=eventsource_namespace, kafka=kafka)


@pytest.fixture
def run_import(root: Path) -> Import:
    def run(
        path: Path, environment: Mapping[str, str], *options: str, **arguments: Any
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "examples.bank.import_history", str(path), "--json", *options],
            cwd=root,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    return run


@pytest.fixture
def history(root: Path, tmp_path: Path) -> Path:
    """The first rows of the real history."""
    with gzip.open(root / "examples/bank/data/transactions.csv.gz", "rt", encoding="utf-8", newline="") as file:
        text = "".join(islice(file, ROWS + 1))
    path = tmp_path / "history.csv"
    path.write_text(text, encoding="utf-8")
    return path


def figures_of(path: Path) -> dict[str, Any]:
    """The figures that a file must lead to, computed from it alone."""
    totals: dict[str, Decimal] = {}
    drifts: dict[str, Decimal] = {}
    largest = Decimal(0)
    count = 0
    with path.open(encoding="utf-8", newline="") as file:
        for count, row in enumerate(csv.DictReader(file), 1):  # noqa: B007 - used below
            account, sign = row["account_id"], 1 if row["kind"] == "credit" else -1
            totals[account] = totals.get(account, Decimal(0)) + sign * Decimal(row["amount"])
            drifts[account] = abs(totals[account] - Decimal(row["balance"]))
            largest = max(largest, drifts[account])
    return {
        "transactions": count,
        "accounts": len(totals),
        "accepted": count,
        "rejected": 0,
        "accounts_without_drift": sum(drift == 0 for drift in drifts.values()),
        "largest_drift": float(largest),
        "rebuild_identical": True,
    }


def assert_says(result: subprocess.CompletedProcess[str], figures: Mapping[str, Any]) -> None:
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert {name: found[name] for name in figures} == figures
    assert min(found["commands_per_second"], found["projected_per_second"], found["rebuild_per_second"]) > 0


def assert_one_sentence(result: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert result.stderr.startswith("error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def assert_holds(found: Audit, path: Path) -> None:
    """Every account's opening and transactions, and nothing else, under the command ids that the file gives."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    accounts = {row["account_id"] for row in rows}
    assert found.command_ids == {f"open-account-{account}" for account in accounts} | {
        f"transaction-{row['transaction_id']}" for row in rows
    }
    assert found.events == len(rows) + len(accounts)
    assert found.versions == {account: 1 + sum(row["account_id"] == account for row in rows) for account in accounts}


# --- imports -----------------------------------------------------------------------------------------------------


def test_a_second_import_changes_nothing(
    history: Path, environment: dict[str, str], settings: Settings, run_import: Import
) -> None:
    figures = figures_of(history)
    assert_says(run_import(history, environment), figures)
    first = audit(bank, settings)
    assert_holds(first, history)

    assert_says(run_import(history, environment), figures)
    assert audit(bank, settings) == first


def test_a_mistake_in_the_middle_leaves_what_came_before_and_the_mended_file_completes_it(
    history: Path, environment: dict[str, str], settings: Settings, run_import: Import, tmp_path: Path
) -> None:
    lines = history.read_text(encoding="utf-8").splitlines(keepends=True)
    broken = tmp_path / "broken.csv"
    wrong = lines[1_500].replace(",", ",-", 6).replace(",-", ",", 5)
    broken.write_text("".join([*lines[:1_500], wrong, *lines[1_501:]]), encoding="utf-8")

    result = run_import(broken, environment)
    assert_one_sentence(
        result, 2, f"{broken}, line 1501, column amount: ", "is negative", "the 1,499 transactions accepted before it"
    )
    before = tmp_path / "before.csv"
    before.write_text("".join(lines[:1_500]), encoding="utf-8")
    assert_holds(audit(bank, settings), before)

    assert_says(run_import(history, environment), figures_of(history))
    assert_holds(audit(bank, settings), history)


def test_a_transaction_that_was_recorded_otherwise_before_is_told(
    environment: dict[str, str], run_import: Import, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text(f"{HEADER}\n{ROW}\n", encoding="utf-8")
    second.write_text(f"{HEADER}\n{ROW.replace('900.00', '901.00')}\n", encoding="utf-8")
    assert_says(run_import(first, environment), figures_of(first))

    result = run_import(second, environment)
    assert result.returncode == 1
    assert json.loads(result.stdout)["rejected"] == 1
    assert "error: 1 transactions were rejected, the first: transaction-171812 of account 576: " in result.stderr
    assert "used before with another content" in result.stderr


# --- what a user may get wrong -----------------------------------------------------------------------------------

WRONG_FILES = {
    "a missing column": ("history.csv", f"{HEADER.replace('amount', 'sum')}\n{ROW}\n", "line 1, column amount"),
    "a broken line": ("history.csv", f"{HEADER}\n{ROW[:30]}\n", "line 2, column purpose"),
    "a negative amount": ("history.csv", f"{HEADER}\n{ROW.replace(',900', ',-900', 1)}\n", "line 2, column amount"),
    "an account id that is no number": (
        "history.csv",
        f"{HEADER}\n{ROW.replace('576', 'x7')}\n",
        "line 2, column account_id",
    ),
    "no rows": ("history.csv", f"{HEADER}\n", "line 1"),
    "bad gzip": ("history.csv.gz", f"{HEADER}\n{ROW}\n", "line 1"),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_a_wrong_file_is_one_sentence_and_starts_no_server(what: str, run_import: Import, tmp_path: Path) -> None:
    name, content, where = WRONG_FILES[what]
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    # Without any server named, a start of the embedded ones would be seen in the time that it takes.
    result = run_import(
        path, {name: value for name, value in os.environ.items() if not name.startswith("EVENTSOURCE_")}
    )
    assert_one_sentence(result, 2, f"{path}, {where}: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read the file")
def test_a_file_that_may_not_be_read_is_one_sentence(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(f"{HEADER}\n{ROW}\n", encoding="utf-8")
    path.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    # All is imported before the privileges are dropped: the interpreter's own folder may be closed to others as well.
    program = (
        "import os, sys; from examples.bank.import_history import main; os.setuid(65534); "
        f"sys.exit(main([{str(path)!r}, '--json']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert_one_sentence(result, 2, f"{path}: it may not be read")


# --- what may be wrong with the servers --------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def one_row(tmp_path: Path) -> Path:
    path = tmp_path / "history.csv"
    path.write_text(f"{HEADER}\n{ROW}\n", encoding="utf-8")
    return path


def test_a_broker_that_is_not_there_is_told_within_seconds(
    one_row: Path, environment: dict[str, str], run_import: Import
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    environment["EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"] = nowhere
    environment["EVENTSOURCE_KAFKA__REQUEST_TIMEOUT_SECONDS"] = "2"
    assert_one_sentence(
        run_import(one_row, environment), 3, f"no broker answers at {nowhere}", "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS"
    )


def test_a_postgres_that_is_not_there_is_told(one_row: Path, environment: dict[str, str], run_import: Import) -> None:
    port = free_port()
    environment["EVENTSOURCE_POSTGRES__URL"] = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    assert_one_sentence(run_import(one_row, environment), 3, f"127.0.0.1:{port}", "EVENTSOURCE_POSTGRES__URL")


def test_a_postgres_that_refuses_the_user_is_told_without_the_password(
    one_row: Path, environment: dict[str, str], run_import: Import
) -> None:
    scheme, _, rest = environment["EVENTSOURCE_POSTGRES__URL"].partition("://")
    environment["EVENTSOURCE_POSTGRES__URL"] = f"{scheme}://stranger:pa55word@{rest.rpartition('@')[2]}"
    result = run_import(one_row, environment)
    assert_one_sentence(result, 3, "refused the user", "EVENTSOURCE_POSTGRES__URL")
    assert "pa55word" not in result.stderr


def test_a_topic_with_another_partition_count_is_refused(
    one_row: Path, environment: dict[str, str], settings: Settings, run_import: Import
) -> None:
    topic = bank.names(settings.namespace).events("account")
    admin: Any = AdminClient(settings.kafka.client_config())
    for future in admin.create_topics([NewTopic(topic, 3, 1)]).values():
        future.result()
    assert_one_sentence(run_import(one_row, environment), 4, f"{topic}: has 3 partitions, the app wants 8")


def test_an_import_that_nobody_answers_gives_up_and_says_what_to_start(
    one_row: Path, environment: dict[str, str], run_import: Import
) -> None:
    result = run_import(one_row, environment, "--no-worker", "--patience", "5")
    assert_one_sentence(result, 3, "no command was answered for 5 s", "eventsource run examples.bank:bank")


def test_a_worker_that_cannot_begin_is_quoted(one_row: Path, environment: dict[str, str], run_import: Import) -> None:
    environment["EVENTSOURCE_WORKER__HEALTH_HOST"] = "192.0.2.1"
    assert_one_sentence(
        run_import(one_row, environment), 2, "ended with exit code 2 (", "EVENTSOURCE_WORKER__HEALTH_HOST"
    )
