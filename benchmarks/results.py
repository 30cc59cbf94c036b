"""The page of results: one section for each benchmark, all of one machine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

from benchmarks.output import Figures, written

_TITLE: Final = "# Results"
_SECTION: Final = "\n## "
_REMARK: Final = (
    "The brokers, the database, the workers, the peers and the clients share these cores. Compare figures of one run with each "
    "other, not with those of another machine."
)


class Results:
    """The sections of a page by their titles. Those of another machine are dropped: they cannot be compared."""

    def __init__(self, path: Path, machine: str) -> None:
        self._path = path
        self._head = f"{_TITLE}\n\nMachine: {machine}. {_REMARK}\n"
        head, *sections = path.read_text(encoding="utf-8").split(_SECTION) if path.exists() else [""]
        self._sections: dict[str, str] = {}
        if head.strip() == self._head.strip():
            self._sections = {section.partition("\n")[0]: section.partition("\n")[2].strip() for section in sections}

    def put(self, title: str, figures: Figures, day: date) -> None:
        """Sets a section and writes the page at once: what was measured is kept, whatever becomes of the rest."""
        rows = "\n".join(f"| {name.replace('_', ' ')} | {written(figure)} |" for name, figure in figures.items())
        self._sections[title] = f"Measured on {day}.\n\n| figure | value |\n|---|---|\n{rows}"
        self._path.write_text(self._page(self._sections), encoding="utf-8")

    def _page(self, sections: Mapping[str, str]) -> str:
        return self._head + "".join(f"{_SECTION}{title}\n\n{text}\n" for title, text in sorted(sections.items()))
