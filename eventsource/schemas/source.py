"""Small Python modules written at run time: straight-line functions for one schema, readable in a traceback."""

from __future__ import annotations

import builtins
import keyword
import linecache
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_DEEPEST: Final = 16  # Python takes 20 loops inside of one another
MOST_LINES: Final = 20_000
"""Of one module: what repeats itself in a schema must not multiply in the code for it."""


class Unsupported(Exception):  # never leaves this package: the reference codec is taken then
    """No code is generated for something in a schema."""


class Lines:
    """Lines of code as they are written, each indented as the block that it stands in."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self._depth = 0

    def add(self, line: str) -> None:
        if len(self.written) == MOST_LINES:
            raise Unsupported("too much code")
        self.written.append("    " * self._depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Adds `head`; what is added inside of the `with` statement is indented below it. Raises `Unsupported` if too deep."""
        if self._depth == _DEEPEST:
            raise Unsupported("blocks nest too deep")
        self.add(head)
        self._depth += 1
        yield
        self._depth -= 1


class Source:
    """Collects functions and the objects that they name, then compiles them once.

    Only names that this package chose or that the schema check admitted (ASCII identifiers) become code; values are bound
    as objects, never spelled.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._lines: list[str] = []
        self._scope: dict[str, Any] = {}
        self._bound: dict[tuple[str, int], str] = {}
        self._last: dict[str, int] = {}

    def bind(self, value: object, hint: str) -> str:
        """A name in the module for `value`: `hint`, made unique."""
        base = re.sub(r"\W", "_", hint, flags=re.ASCII)
        known = self._bound.get((base, id(value)))  # the scope keeps the value, and so its id
        if known is not None and self._scope[known] is value:
            return known
        number = self._last.get(base, 0) + 1
        name = base if number == 1 else f"{base}_{number}"
        while name in self._scope or hasattr(builtins, name) or keyword.iskeyword(name):
            number += 1
            name = f"{base}_{number}"
        self._last[base] = number
        self._scope[name] = value
        self._bound[base, id(value)] = name
        return name

    def reserve(self, hint: str) -> str:
        """A unique name for a function that is added later."""
        return self.bind(object(), hint)

    def rebind(self, name: str, value: object) -> None:
        """Gives a reserved name an object instead of a function."""
        self._scope[name] = value

    def add(self, lines: list[str]) -> int:
        """Adds functions; returns the number of their first line in the module."""
        first = len(self._lines) + 1
        if first > MOST_LINES:
            raise Unsupported("too much code")
        self._lines += [*lines, "", ""]
        return first

    @property
    def text(self) -> str:
        return "\n".join(self._lines)

    def compile(self) -> dict[str, Any]:
        """Runs the module and returns its names."""
        filename = f"<eventsource codec: {self._title}>"
        text = self.text
        exec(compile(text, filename, "exec"), self._scope)  # noqa: S102  # made from checked identifiers only, see the class
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        return self._scope
