"""What an import tells at its end: a table for people, one line of JSON for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of an import.

    `transactions`, `accounts` and the drifts are the read models', of the accounts in the file; `accepted` and `rejected` count the
    file's transactions. Rates are per second: commands from the first that was sent to the last answer, an account's opening
    counted too; `projected_per_second` events from the first command until both read models show all;
    `rebuild_per_second` events folded into either read model while both are built again from the log.
    """

    transactions: int
    accounts: int
    accepted: int
    rejected: int
    accounts_without_drift: int
    largest_drift: Decimal
    rebuild_identical: bool
    commands: int
    commands_per_second: float
    projected_per_second: float
    rebuild_per_second: float

    def as_json(self) -> str:
        """One line."""
        document: dict[str, Any] = {
            "transactions": self.transactions,
            "accounts": self.accounts,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "accounts_without_drift": self.accounts_without_drift,
            "largest_drift": float(self.largest_drift),
            "rebuild_identical": self.rebuild_identical,
            "commands": self.commands,
            "commands_per_second": round(self.commands_per_second),
            "projected_per_second": round(self.projected_per_second),
            "rebuild_per_second": round(self.rebuild_per_second),
        }
        return json.dumps(document)

    def as_table(self, title: str) -> Table:
        """Two columns: what, and how much."""
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        table.add_column(style="dim")
        rows = (
            ("transactions", f"{self.transactions:,}", "in the statement"),
            ("accounts", f"{self.accounts:,}", "in the balances"),
            ("accepted", f"{self.accepted:,}", "of the file's transactions"),
            ("rejected", f"{self.rejected:,}", ""),
            ("accounts without drift", f"{self.accounts_without_drift:,}", "from what the bank itself recorded"),
            ("largest drift", f"{self.largest_drift:.2f}", "crowns: the bank rounded to 0.10"),
            ("rebuild identical", "yes" if self.rebuild_identical else "NO", "read models thrown away and replayed"),
            ("commands", f"{self.commands_per_second:,.0f}/s", "sent, decided, in the log, answered"),
            ("projected", f"{self.projected_per_second:,.0f}/s", "from the first command to the last row"),
            ("rebuild", f"{self.rebuild_per_second:,.0f}/s", "events folded into rows"),
        )
        for row in rows:
            table.add_row(*row)
        return table
