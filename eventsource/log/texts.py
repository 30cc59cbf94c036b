"""Which texts a command may carry: those that a record's key and headers, and a text column of Postgres, can all hold.

Ids, actors and metadata go from a command into its events, and from there into rows. What Postgres cannot hold would stop every
projection that stores it, so it is rejected before anything is written.
https://www.postgresql.org/docs/current/datatype-character.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eventsource.log.headers import EMPTY_TRAIL, Trail


def fault_of(text: str, max_bytes: int) -> str | None:
    """Why a text may not be in a command, with the remedy, to be read behind its name; None if it may be. Empty is no fault."""
    if "\0" in text:
        return nul_fault(text)
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        return f"holds a lone surrogate at index {error.start}, which has no UTF-8 form: remove it, or decode its source strictly"
    if size_bytes > max_bytes:
        return (
            f"takes {size_bytes} bytes in UTF-8, {max_bytes} are allowed: shorten it, or give a hash of what is longer"
        )
    return None


def nul_fault(text: str) -> str | None:
    """The same for a text that was read from a record, where the rest holds already."""
    at = text.find("\0")
    return None if at < 0 else f"holds a NUL character at index {at}, which Postgres cannot store: remove it"


def named_texts(
    correlation_id: str, causation_id: str, actor: str, metadata: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """The texts of a trail, each with what it is called in an error."""
    yield "correlation_id", correlation_id
    yield "causation_id", causation_id
    yield "actor", actor
    for name, value in metadata.items():
        yield "a name of metadata", name
        yield f"metadata[{shortened(name)}]", value


def trail_fault(trail: Trail) -> str | None:
    """Why a trail that was read from a record may not be in a command; None if it may be."""
    if trail is EMPTY_TRAIL:
        return None
    for name, text in named_texts(trail.correlation_id, trail.causation_id, trail.actor, trail.metadata):
        fault = nul_fault(text)
        if fault is not None:
            return f"{name} {fault}"
    return None


def shortened(value: object, characters: int = 60) -> str:
    """How a value is shown in an error: its `repr`, no longer than so many characters."""
    text = repr(value)
    return f"{text[:characters]}…" if len(text) > characters else text
