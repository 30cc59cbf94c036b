"""`eventsource projections list|rebuild`, as a shell runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from bank_app import Balances, Deposited, bank

FOLDER = Path(__file__).parent


@pytest.fixture
def eventsource(settings):
    environment = {
        **os.environ,
        "EVENTSOURCE_NAMESPACE": settings.namespace,
        "EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "EVENTSOURCE_POSTGRES__URL": settings.postgres.url,
        "EVENTSOURCE_APP": "bank_app:bank",
        "EVENTSOURCE_LOG_FORMAT": "text",
    }

    def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "eventsource", "projections", *arguments],
            cwd=FOLDER,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    return run_command


def listed(eventsource):
    return {status["name"]: status for status in json.loads(eventsource("list", "--json").stdout)["projections"]}


def test_list_and_rebuild(log, run, eventsource, settings, until, tables):
    assert listed(eventsource)["balances"]["state"] == "not built"
    running = run(Balances)
    log.write(*[(f"a{index}", Deposited(amount=Decimal(index))) for index in range(20)])
    places = [(bank.names(settings.namespace).events("account"), number) for number in range(4)]

    def position_and_end() -> tuple[int, int]:
        # asked each time: a commit is answered before its last marker is written
        ((position,),) = tables.ask("SELECT sum(position)::bigint FROM eventsource_positions") or [(0,)]
        return position, sum(log.admin.end_offsets(places).values())

    until(lambda: len(set(position_and_end())) == 1 and position_and_end()[0] > 20)
    position, end = position_and_end()
    running.close()
    assert listed(eventsource)["balances"] == {
        "name": "balances",
        "revision": 1,
        "table": "balances",
        "topics": [bank.names(settings.namespace).events("account")],
        "partitions": 4,
        "position": position,
        "end": end,
        "lag": 0,
        "state": "caught up",
        "differences": [],
    }
    log.write(("a", Deposited(amount=Decimal(1))))
    assert listed(eventsource)["balances"]["state"] == "behind"

    rebuilt = eventsource("rebuild", "balances", "--yes", "--json")
    assert rebuilt.returncode == 0, rebuilt.stderr
    report = json.loads(rebuilt.stdout)
    assert (report["projection"], report["events"], report["rows"]) == ("balances", 21, 21)
    assert listed(eventsource)["balances"]["state"] == "caught up"

    table = eventsource("list")
    assert "caught up" in table.stdout
    unasked = eventsource("rebuild", "balances")  # nobody is at its standard input
    assert unasked.returncode == 2
    assert "rebuilding balances empties its table" in unasked.stderr
    assert "--yes" in unasked.stderr
    said = eventsource("rebuild", "balances", "--yes")
    assert said.stdout == ""
    assert "21 events of 21 records folded into 21 rows" in said.stderr

    tables("CREATE INDEX mine ON balances (events)")
    told = "the index 'mine' of the table, USING btree (events), is not in the class"
    assert f"balances: {told}: DROP INDEX" in eventsource("list").stderr
    assert f"balances: changed, since {told}" in eventsource("rebuild", "balances", "--yes").stderr

    tables("UPDATE eventsource_projections SET revision = 9")
    assert listed(eventsource)["balances"]["state"] == "outdated"


def test_a_projection_that_the_app_does_not_have(eventsource):
    refused = eventsource("rebuild", "nothing")
    assert refused.returncode == 2
    assert "app 'bank' has no projection 'nothing': choose among balances, flows, statement" in refused.stderr
    assert "Traceback" not in refused.stderr
