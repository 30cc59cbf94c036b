"""Messages as Avro: exact forms, fingerprints, schema stores."""

from eventsource.schemas.codec import MessageCodec
from eventsource.schemas.kafka_store import KafkaSchemaStore
from eventsource.schemas.limits import Limits
from eventsource.schemas.message_schema import AvroSchema, message_schema
from eventsource.schemas.schema_text import SchemaText
from eventsource.schemas.store import MemorySchemaStore, SchemaStore

__all__ = [
    "AvroSchema",
    "KafkaSchemaStore",
    "Limits",
    "MemorySchemaStore",
    "MessageCodec",
    "SchemaStore",
    "SchemaText",
    "message_schema",
]
