from __future__ import annotations

from decimal import Decimal

from bank_app import Balances, Closed, Deposited, Noted, Opened, bank

from projections import rebuild


def test_a_rebuild_folds_the_whole_log_again(log, run, settings, tables):
    running = run(Balances)
    *_, last = log.write(*[(f"a{i % 7}", Deposited(amount=Decimal(i))) for i in range(100)], ("a1", Closed()))
    reader = Balances.reader(bank, settings)
    reader.wait_for(last, 10)
    reader.close()
    before = tables("SELECT * FROM balances ORDER BY 1")
    assert len(before) == 6
    tables("UPDATE balances SET balance = 0")
    seen = []
    report = rebuild(bank, "balances", settings, lambda done, total: seen.append((done, total)))
    assert tables("SELECT * FROM balances ORDER BY 1") == before
    assert (report.events, report.rows) == (101, 6)
    assert seen[-1][0] == seen[-1][1] > 0
    *_, last = log.write(("b", Opened(owner="Bea")), ("b", Noted(text="x")))
    reader = Balances.reader(bank, settings)
    reader.wait_for(last, 10)
    reader.close()
    assert tables("SELECT account_id, owner FROM balances WHERE owner IS NOT NULL") == [("b", "Bea")]
    assert running.error is None
