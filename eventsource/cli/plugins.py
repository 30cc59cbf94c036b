"""Sub-commands of other packages: entry points of the group `eventsource.cli`, each a typer app."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib.metadata import EntryPoint

import typer

from eventsource.cli.shadowing import find_shadows
from eventsource.errors import SettingsError

GROUP = "eventsource.cli"


def add_plugins(root: typer.Typer, entry_points: Iterable[EntryPoint], taken: Collection[str]) -> list[str]:
    """Adds each plug-in under its entry point's name. Returns what is wrong, one sentence each.

    A plug-in that cannot be loaded stops no other command: its own verb says why, and exits as for a wrong setting.
    """
    problems: list[str] = []
    names = set(taken)
    for entry_point in entry_points:
        if entry_point.name in names:
            problems.append(
                f"the command-line plug-in {entry_point.value!r} wants the verb {entry_point.name!r}, which is taken: it is left out; "
                "uninstall its package or rename its entry point"
            )
            continue
        names.add(entry_point.name)
        problem = _add(root, entry_point)
        if problem is not None:
            problems.append(problem)
    return problems


def _add(root: typer.Typer, entry_point: EntryPoint) -> str | None:
    try:
        plugin = entry_point.load()
    except Exception as error:  # noqa: BLE001  a plug-in may fail in any way, and the other commands must work
        reason = f"it fails to load with {type(error).__name__}: {error}"
    else:
        if isinstance(plugin, typer.Typer):
            root.add_typer(plugin, name=entry_point.name)
            return None
        reason = f"it is of type {type(plugin).__name__}, not a typer.Typer"
    shadows = [str(shadow) for shadow in find_shadows() if shadow.name == entry_point.module.partition(".")[0]]
    mend = "; ".join(shadows) or "install its package again, or report it to its authors"
    problem = (
        f"the verb {entry_point.name!r} is not available: its plug-in is {entry_point.value!r} and {reason}: {mend}"
    )

    def unavailable() -> None:
        raise SettingsError(problem)

    root.command(
        entry_point.name,
        help="Not available: its plug-in cannot be loaded.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    )(unavailable)
    return problem
