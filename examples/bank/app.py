"""The app: what is deployed together under the name `bank`."""

from __future__ import annotations

from eventsource import App
from examples.bank.domain import Account
from examples.bank.read_models import Balances, Statement

# A bank's transaction ids are command ids, and an old file may be imported again at any time: they are never forgotten.
bank = App("bank", aggregates=[Account], consumers=[Balances, Statement], remember_commands_forever=[Account])
