"""Messages and states as Avro: exact forms, fingerprints, schema stores."""

from eventsource.schemas.avro_schema import AvroSchema
from eventsource.schemas.budget import Taken
from eventsource.schemas.canonical import Canonical, Malformed, canonical_form, canonical_of
from eventsource.schemas.codec import MessageCodec, codecs_by_name
from eventsource.schemas.kafka_store import KafkaSchemaStore
from eventsource.schemas.limits import DEFAULT_LIMITS, OWN_LIMITS, Limits
from eventsource.schemas.logged_form import LoggedForm, logged_form
from eventsource.schemas.message_schema import message_schema
from eventsource.schemas.schema_text import COMMAND_ROLE, EVENT_ROLE, SchemaText, record_fields
from eventsource.schemas.single_object import PREFIX_BYTES, written_fingerprint
from eventsource.schemas.state_codec import StateCodec
from eventsource.schemas.store import MemorySchemaStore, SchemaStore

__all__ = [
    "COMMAND_ROLE",
    "DEFAULT_LIMITS",
    "EVENT_ROLE",
    "OWN_LIMITS",
    "PREFIX_BYTES",
    "AvroSchema",
    "Canonical",
    "KafkaSchemaStore",
    "Limits",
    "LoggedForm",
    "Malformed",
    "MemorySchemaStore",
    "MessageCodec",
    "SchemaStore",
    "SchemaText",
    "StateCodec",
    "Taken",
    "canonical_form",
    "canonical_of",
    "codecs_by_name",
    "logged_form",
    "message_schema",
    "record_fields",
    "written_fingerprint",
]
