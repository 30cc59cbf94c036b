from __future__ import annotations

from decimal import Decimal

from bank_app import Balance, Balances, Closed, Deposited, Noted, Opened, bank
from sqlalchemy import select, text


def test_events_become_rows_that_a_token_waits_for(log, run, settings):
    run(Balances)
    tokens = log.write(("a", Opened(owner="Ada")), ("a", Deposited(amount=Decimal("5.00"))), ("b", Opened(owner="Bea")))
    reader = Balances.reader(bank, settings)
    try:
        for token in tokens:
            reader.wait_for(token, 10)
        with reader.session() as session:
            assert session.scalars(select(Balance).order_by(Balance.account_id)).all() == [
                Balance(account_id="a", owner="Ada", balance=Decimal("5.00"), events=2),
                Balance(account_id="b", owner="Bea", events=1),
            ]
            assert session.execute(text("SELECT count(*) FROM balances")).scalar() == 2
    finally:
        reader.close()
