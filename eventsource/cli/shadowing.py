"""Notices a user's own top-level `projections` or `sagas` that hides the framework's."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import eventsource

SHARED_NAMES: Final = ("projections", "sagas")


@dataclass(frozen=True, slots=True)
class Shadow:
    """A module that Python finds under one of our names. `path` is the file or folder it comes from."""

    name: str
    path: Path

    def __str__(self) -> str:
        return (
            f"{self.path} hides the framework's own package {self.name!r}: rename it, or move it into a package of yours "
            f"(such as myapp/{self.path.name})"
        )


def find_shadows() -> list[Shadow]:
    """What Python would import as `projections` and `sagas` with today's `sys.path`, where that is not ours."""
    ours = Path(eventsource.__file__).resolve().parent.parent
    found = []
    for name in SHARED_NAMES:
        path = _where(name)
        if path is not None and path.parent != ours:
            found.append(Shadow(name, path))
    return found


def _where(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None
