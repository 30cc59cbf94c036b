"""The list of commands on a help page."""

from __future__ import annotations

from typing import Any, Final

from typer.core import TyperGroup

_NEVER_CUT: Final = 10_000


class CommandGroup(TyperGroup):
    """A group that shows the first sentence of each command whole, on as many lines as that takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(_NEVER_CUT))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
