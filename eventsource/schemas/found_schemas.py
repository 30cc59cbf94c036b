"""What a topic holds of schemas: taken in at the price of a checksum, and parsed when a record refers to it."""

from __future__ import annotations

import re
from typing import Final

import structlog

from eventsource.errors import DecodeError, FingerprintConflict
from eventsource.log.record import Record
from eventsource.schemas.fingerprint import fingerprint as fingerprint_of
from eventsource.schemas.limits import Limits
from eventsource.schemas.schema_text import SchemaText
from eventsource.schemas.store import check_same

_log = structlog.get_logger("eventsource.schemas")

SCHEMA_KEY: Final = re.compile(rb"[0-9a-f]{16}")
ROLES_HEADER: Final = "es_roles"
_LONGEST_ROLES: Final = 100_000
_BEGIN: Final = b'{"name":"'
_END: Final = b"}"
_MOST_REFUSED: Final = 1_000
_MOST_LOGGED: Final = 10


class FoundSchemas:
    """Schemas by fingerprint, of which the first under each counts. Belongs to the thread that holds the store's lock, but for `known`.

    A record whose text has not the fingerprint that it stands under is refused at once. Whether a text is a schema is found out
    by `find`: what nobody refers to costs nobody anything.
    """

    def __init__(self, limits: Limits) -> None:
        self.known: dict[int, SchemaText] = {}
        """Those that were parsed. Entries are only ever added, so it may be read without the lock."""
        self.conflicts: dict[int, FingerprintConflict] = {}
        self.refused: dict[int, str] = {}
        """Why there is none under a fingerprint, of the first thousand."""
        self.stored: set[int] = set()
        """Those in the topic as it is now."""
        self.roles: dict[int, frozenset[str]] = {}
        """What the newest record under a fingerprint says that its schema is used for."""
        self._limits = limits
        self._unread: dict[int, tuple[Record, ...]] = {}
        self._logged = 0

    def take(self, record: Record, fingerprint: int) -> None:
        """Takes a record in."""
        value = record.value or b""
        self._take(record, fingerprint, value)
        if fingerprint in self.stored:
            self.roles[fingerprint] = roles_of(record)

    def _take(self, record: Record, fingerprint: int, value: bytes) -> None:
        known = self.known.get(fingerprint)
        if known is not None and known.text.encode() == value:
            self.stored.add(fingerprint)
            return
        unread = self._unread.get(fingerprint, ())
        if any(other.value == value for other in unread):
            self.stored.add(fingerprint)
            return
        if len(value) > self._limits.schema_bytes:
            self._refuse(record, fingerprint, f"it has {len(value)} bytes, {self._limits.schema_bytes} are read")
            return
        if not (value.startswith(_BEGIN) and value.endswith(_END)):  # quicker than the checksum
            self._refuse(record, fingerprint, "its text is not that of a record's schema")
            return
        try:
            found = fingerprint_of(value.decode())
        except UnicodeDecodeError:
            self._refuse(record, fingerprint, "it is no text")
            return
        if found != fingerprint:
            self._refuse(record, fingerprint, f"its text has the fingerprint {found:016x}")
            return
        self._unread[fingerprint] = (*unread, record)
        if (
            known is not None or unread
        ):  # two texts with one checksum: somebody made them so, or one of them is no schema
            self.find(fingerprint)
        else:
            self.stored.add(fingerprint)

    def find(self, fingerprint: int) -> SchemaText | None:
        """The schema under this fingerprint, if there is one."""
        for record in self._unread.pop(fingerprint, ()):
            try:
                schema = SchemaText.parse(record.value or b"", self._limits)
            except DecodeError as error:
                self._refuse(record, fingerprint, str(error))
                continue
            try:
                check_same(self.known.setdefault(fingerprint, schema), schema)
            except FingerprintConflict as error:
                _log.error("schema_conflict", topic=record.topic, offset=record.offset, fingerprint=schema.hex)
                self.conflicts[fingerprint] = error
        if fingerprint not in self.known:
            self.stored.discard(fingerprint)
        return self.known.get(fingerprint)

    def _refuse(self, record: Record, fingerprint: int, reason: str) -> None:
        if self._logged < _MOST_LOGGED:
            self._logged += 1
            _log.warning(
                "schema_refused",
                topic=record.topic,
                offset=record.offset,
                reason=reason,
                last_that_is_logged=self._logged == _MOST_LOGGED,
            )
        if len(self.refused) < _MOST_REFUSED:
            self.refused[fingerprint] = reason


def roles_of(record: Record) -> frozenset[str]:
    """What a record of the schemas topic says that its schema is used for."""
    for name, value in record.headers or ():
        if name == ROLES_HEADER and value is not None and len(value) <= _LONGEST_ROLES:
            return frozenset(role for role in value.decode(errors="replace").split(",") if role)
    return frozenset()
