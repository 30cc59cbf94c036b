"""What an app's schemas topic holds: the schemas with their roles, and the records that are none."""

from __future__ import annotations

from dataclasses import replace

from eventsource.errors import DecodeError
from eventsource.log.admin import LogAdmin
from eventsource.log.meta_topic import ForeignRecords, records_of
from eventsource.log.record import Record
from eventsource.schemas.found_schemas import SCHEMA_KEY, roles_of
from eventsource.schemas.schema_text import SchemaText
from eventsource.settings import Settings


def read_registered(topic: str, settings: Settings, admin: LogAdmin) -> tuple[list[SchemaText], ForeignRecords]:
    """All schemas of a topic in its order, and what else is in it; nothing where there is no such topic.

    Raises `LogError`s, `BrokerUnavailable` above all.
    """
    found: dict[int, SchemaText] = {}
    foreign = ForeignRecords()
    for record in records_of(topic, settings, admin, foreign):
        try:
            schema = _schema_of(record, found)
        except DecodeError as error:
            foreign.add(record, str(error))
        else:
            found[schema.fingerprint] = replace(schema, roles=roles_of(record))
    return list(found.values()), foreign


def _schema_of(record: Record, found: dict[int, SchemaText]) -> SchemaText:
    if not SCHEMA_KEY.fullmatch(record.key):
        raise DecodeError("its key is no fingerprint")
    if record.value is None:
        raise DecodeError("it has no value: a schema is never taken back")
    known = found.get(int(record.key, 16))
    if known is not None and known.text.encode() == record.value:
        return known
    schema = SchemaText.parse(record.value)
    if schema.fingerprint != int(record.key, 16):
        raise DecodeError(f"its text has the fingerprint {schema.hex}")
    return schema
