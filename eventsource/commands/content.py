"""What a command says, whatever the order in which it says it: its hash tells a repetition from another command under the same id."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from eventsource.commands.builtin import APPEND, LOAD, pack_events, unpack_events
from eventsource.commands.request import Request
from eventsource.errors import EventSourceError, Retriable, SchemaError
from eventsource.log.headers import body_hash
from eventsource.schemas import PREFIX_BYTES, Canonical, Malformed, SchemaStore, canonical_of

_KEPT_BYTES: Final = 4_096


def equal_hash(key: bytes, type_: str, value: bytes, form: Canonical | None) -> Callable[[], bytes] | None:
    """What makes the hash over the canonical form of a value, for its sender; None where equal values have equal bytes anyway.

    It is made when it is asked for, which is when the id is sent a second time. For that a short value is kept. Of a long one, which
    would take memory until the answer is there, the hash is made at once.
    """
    if form is None:
        return None
    find = partial(_equal_hash, key, type_, value, form)
    if len(value) <= _KEPT_BYTES:
        return find
    found = find()
    return lambda: found


def _equal_hash(key: bytes, type_: str, value: bytes, form: Canonical) -> bytes:
    try:
        canonical = form(value)
    except (Malformed, SchemaError):
        canonical = value  # as the owner takes it
    return body_hash(key, type_, canonical)


class ContentHashes:
    """The hashes of one aggregate's commands. Belongs to one thread."""

    def __init__(self, schemas: SchemaStore) -> None:
        self._schemas = schemas
        self._forms: dict[bytes, Canonical] = {}
        self._last: tuple[Request, bytes] | None = None
        self._plain: set[bytes] = set()  # prefixes of values whose form is their own

    def of(self, request: Request, *, look: bool = True) -> bytes:
        """The hash by which a repetition is known: over the canonical form of the value, which for most is the value itself.

        Without `look`, no schema is asked for: the value is its own form unless one with the same schema was seen before.
        """
        value, type_ = request.record.value, request.headers.type
        if not value or request.error is not None or type_ == LOAD:
            return request.body_hash
        if value[:PREFIX_BYTES] in self._plain:
            return request.body_hash
        if not look and (type_ == APPEND or value[:PREFIX_BYTES] not in self._forms):
            return request.body_hash
        if self._last is not None and self._last[0] is request:
            return self._last[1]
        try:
            canonical = self._appended(value) if type_ == APPEND else self._canonical(value)
        except (Malformed, SchemaError):
            return request.body_hash  # such a command fails, whatever it holds
        except Retriable:
            raise
        except EventSourceError:
            return request.body_hash  # its decoder meets the same, and says so
        found = request.body_hash if canonical == value else body_hash(request.record.key, type_, canonical)
        self._last = request, found
        return found

    def differs(self, request: Request, known_hash: bytes) -> bool:
        """Whether the command's id was used for another content. Earlier versions left the hash of the value as it was sent alone."""
        return known_hash != request.body_hash and known_hash != self.of(request)

    def _appended(self, value: bytes) -> bytes:
        return pack_events((type_, self._canonical(event)) for type_, event in unpack_events(value))

    def _canonical(self, value: bytes) -> bytes:
        prefix = value[:PREFIX_BYTES]
        if prefix in self._plain:
            return value
        form = self._forms.get(prefix)
        if form is None:
            form = canonical_of(value, self._schemas)
            if form is None:
                self._plain.add(prefix)
                return value
            self._forms[prefix] = form
        return form(value)
