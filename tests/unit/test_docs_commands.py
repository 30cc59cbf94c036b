"""What `docs/commands.md` says of a client's errors is what the code says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from eventsource import errors
from eventsource.commands.answers import answer_of
from eventsource.commands.client import Client
from eventsource.commands.pending import Pending
from eventsource.domain import Rejected
from eventsource.errors import EventSourceError, Retriable
from eventsource.log.kafka_errors import ERROR_CLASSES
from projections.reader import ProjectionReader

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
ROW = re.compile(r"^\| `(?P<name>\w+)`[^|]*\| (?P<retriable>yes|no) \|", re.MULTILINE)
NAMED = re.compile(r"`([A-Z]\w+)`")


def documented() -> dict[str, bool]:
    section = PAGE.read_text().partition("## What a client raises")[2]
    return {row["name"]: row["retriable"] == "yes" for row in ROW.finditer(section)}


def error_named(name: str) -> type[Exception] | None:
    found = Rejected if name == "Rejected" else getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, EventSourceError) else None


def said_to_be_raised() -> set[str]:
    """The errors that the docstrings of a client, its answers and its readers name."""
    documented_objects = [
        Client,
        *(member for name, member in vars(Client).items() if not name.startswith("_") and callable(member)),
        Pending.result,
        ProjectionReader.wait_for,
        ProjectionReader.session,
    ]
    texts = " ".join(inspect.getdoc(each) or "" for each in documented_objects)
    return {name for name in NAMED.findall(texts) if error_named(name)} - {"Retriable"}


def answered() -> set[str]:
    """The errors that a reply can become."""
    source = inspect.getsource(inspect.getmodule(answer_of))  # type: ignore[arg-type]  # it is one
    return {name for name in re.findall(r"\b([A-Z]\w+)\(", source) if error_named(name)}


def test_every_error_has_a_row_and_every_row_is_an_error() -> None:
    rows = documented()
    from_kafka = {kind.__name__ for kind in ERROR_CLASSES.values()}
    always = {"ClientClosed", "ForkedClient", "SettingsError", "UnknownFingerprint", "FingerprintConflict"}
    raised = said_to_be_raised() | answered() | from_kafka | always
    assert raised - set(rows) == set(), "they are raised and have no row"
    assert set(rows) - raised - {"DatabaseRefused"} == set(), "they have a row and nothing says that they are raised"


def test_a_row_says_whether_to_try_again_as_the_class_does() -> None:
    for name, retriable in documented().items():
        kind = error_named(name)
        assert kind is not None, name
        assert issubclass(kind, Retriable) == retriable, name
