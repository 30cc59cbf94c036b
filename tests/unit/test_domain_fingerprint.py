"""A kept state is told from one that today's code would make otherwise, and from nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest

from eventsource.domain import Aggregate
from eventsource.domain.fingerprint import default_fingerprints, evolve_fingerprint
from eventsource.errors import DefinitionError

SOURCE = '''
from __future__ import annotations
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from functools import cached_property, partialmethod
from eventsource.domain import Aggregate, Command, Context, Event, applies, creates, decides
from pydantic import BaseModel, ConfigDict, Field
from typing import Annotated

Decimal2 = Annotated[Decimal, Field(max_digits=9, decimal_places=2)]

def wrapping(function):
    import functools
    @functools.wraps(function)
    def wrapper(self, event):
        return function(self, event)
    return wrapper

class Colour(Enum):
    RED = "r"
    CRIMSON = "r"
    BLUE = "b"

class Part(BaseModel):
    model_config = ConfigDict(json_schema_extra={"aliases": ["Piece"]})
    size: int = 1
    inner: list[Part] = Field(default_factory=list)

@dataclass
class Limits:
    most: int = 100
    least: int = field(default_factory=lambda: 1)

class Open(Command, name="open"):
    owner: str

class Deposit(Command, name="deposit"):
    amount: int

class Opened(Event, name="opened", aliases=("begun",)):
    owner: str
    bonus: int = 0
    part: Part | None = None
    colour: Colour = Colour.RED
    tags: tuple[str, ...] = Field(default=(), json_schema_extra={"aliases": ["labels"]})
    by_name: dict[str, Decimal2] = Field(default_factory=dict)
    at: tuple[int, str] = (0, "")

class Deposited(Event, name="deposited"):
    amount: int

class Closed(Event, name="closed"):
    pass

class Base(Aggregate, abstract=True):
    owner: str
    limits: dict[str, list[tuple[Limits, int]]] = field(default_factory=dict)

    def checked(self, amount):
        return amount

class Account(Base, name="account"):
    """An account."""
    balance: int = 0
    seen: list[str] = field(default_factory=list)
    limit = 10
    names = frozenset({"a", "b", "c", "d"})

    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened(owner=command.owner)

    @decides
    def deposit(self, command: Deposit) -> Deposited:
        return Deposited(amount=command.amount)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Account:
        return cls(owner=event.owner)

    @applies
    def on_deposited(self, event: Deposited) -> None:
        self.balance += self.rounded(event.amount)

    @applies
    @wrapping
    def on_closed(self, event: Closed) -> None:
        if self.owner in {"x", "y", "z"}:
            self.seen = [item for item in self.seen if item in {"p", "q"}]

    @staticmethod
    def rounded(amount: int, places: int = 2) -> int:
        return amount + places

    @property
    def rich(self) -> bool:
        return self.balance > 100

    @cached_property
    def richer(self) -> bool:
        return self.balance > 1000

    twice = partialmethod(rounded, 2)
'''


MODULE = "account_of_a_test"


def account(*changes: tuple[str, str]) -> type[Aggregate[Any]]:
    source = SOURCE
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    module = sys.modules[MODULE] = types.ModuleType(MODULE)  # where pydantic looks names up
    try:
        exec(compile(source, "account.py", "exec"), vars(module))
    finally:
        del sys.modules[MODULE]
    found: type[Aggregate[Any]] = module.Account
    return found


BEFORE = evolve_fingerprint(account())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.balance += self.rounded(event.amount)", "self.balance -= self.rounded(event.amount)"),
        ("self.balance += self.rounded(event.amount)", "self.balance += self.checked(event.amount)"),
        ("amount + places", "amount + places + 0"),
        ("places: int = 2", "places: int = 3"),
        ('{"x", "y", "z"}', '{"x", "y", "w"}'),
        ('{"p", "q"}', '{"p", "r"}'),
        ("return cls(owner=event.owner)", "return cls(owner=event.owner, balance=1)"),
        ("        return amount\n", "        return -amount\n"),
        ("self.balance > 100\n", "self.balance > 101\n"),
        ("self.balance > 1000", "self.balance > 1001"),
        ("partialmethod(rounded, 2)", "partialmethod(rounded, 3)"),
        ("limit = 10", "limit = 11"),
        ('"d"}', '"e"}'),
        ("return function(self, event)", "return function(self, event) or None"),
        ("def on_deposited(self, event: Deposited)", "def on_deposited(self, event: Deposited | Closed)\n".rstrip()),
        ('name="account"', 'name="account", state_revision=2'),
        ("bonus: int = 0", "bonus: int = 100"),
        ("bonus: int = 0", "bonus: int"),
        ("bonus: int = 0", "bonus: float = 0"),
        ("bonus: int = 0", "bonus: int = Field(default_factory=lambda: 0)"),
        ("bonus: int = 0", "bonus: int = 0\n    note: str = ''"),
        ('aliases=("begun",)', 'aliases=("started",)'),
        ('{"aliases": ["labels"]}', '{"aliases": ["words"]}'),
        ('{"aliases": ["Piece"]}', '{"aliases": ["Bit"]}'),
        ("size: int = 1", "size: int = 2"),
        ("Colour.RED", "Colour.BLUE"),
        ('BLUE = "b"', 'BLUE = "c"'),
        ('CRIMSON = "r"', 'CRIMSON = "c"'),
        ("tuple[str, ...]", "frozenset[str]"),
        ("at: tuple[int, str]", "at: tuple[float, str]"),
        ("decimal_places=2", "decimal_places=3"),
        ("dict[str, Decimal2]", "dict[int, Decimal2]"),
        ("most: int = 100", "most: int = 101"),
        ("default_factory=lambda: 1", "default_factory=lambda: 2"),
    ],
    ids=lambda text: text[:40],
)
def test_a_change_of_what_makes_the_state_changes_it(old: str, new: str) -> None:
    changes = [(old, new)]
    if "| Closed" in new:
        changes.append(("def on_closed(self, event: Closed)", "def other(self, event)"))
        changes.append(("    @applies\n    @wrapping\n", ""))
    assert evolve_fingerprint(account(*changes)) != BEFORE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    @decides", "\n\n\n    @decides"),
        ('"""An account."""', '"""Another text."""'),
        (
            "        self.balance += self.rounded",
            '        """A docstring, that moves the constants."""\n        # a comment\n        self.balance += self.rounded',
        ),
        ("        if self.owner in", '        """Another."""\n\n        if self.owner in'),
        ("return Deposited(amount=command.amount)", "return Deposited(amount=command.amount * 2)"),
        ("return Opened(owner=command.owner)", "return Opened(owner=command.owner.title())"),
        ("    balance: int = 0", "    balance: int = 0\n    added: int = 5"),
        ("    balance: int = 0", "    balance: int = 1"),
        ("class Base(", "class OldBase(Aggregate, abstract=True):\n    pass\n\n\nclass Base("),
        ("    amount: int\n\nclass Opened", "    amount: int\n    note: str = ''\n\nclass Opened"),
        ("bonus: int = 0", "bonus: Annotated[int, Field(ge=0)] = 0"),
        ("class Opened(", "\nclass Opened("),
    ],
    ids=lambda text: text[:40],
)
def test_what_makes_no_other_state_does_not_change_it(old: str, new: str) -> None:
    assert evolve_fingerprint(account((old, new))) == BEFORE


def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / f"{MODULE}.py").write_text(SOURCE, encoding="utf-8")
    program = textwrap.dedent(
        f"""
        from {MODULE} import Account
        from eventsource.domain.fingerprint import default_fingerprints, evolve_fingerprint
        print(evolve_fingerprint(Account).hex(), default_fingerprints(Account))
        """
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == f"{BEFORE.hex()} {default_fingerprints(account())}\n"


def test_it_takes_sixteen_bytes() -> None:
    assert len(BEFORE) == 16


def test_a_default_has_a_fingerprint_of_its_own() -> None:
    before = default_fingerprints(account())
    assert set(before) == {"balance", "limits", "seen"}
    after = default_fingerprints(account(("balance: int = 0", "balance: int = 1"), ("=list)", "=lambda: [1])")))
    assert {name for name in before if before[name] != after[name]} == {"balance", "seen"}


@pytest.mark.parametrize("revision", [0, -1, True, "2", 1.5])
def test_a_state_revision_is_a_whole_number_from_one_on(revision: object) -> None:
    with pytest.raises(DefinitionError, match=r"state_revision=.*: give a whole number from 1 upwards"):
        account(('name="account"', f'name="account", state_revision={revision!r}'))
