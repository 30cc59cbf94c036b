"""Schemas are registered before first use, once, and never under another's fingerprint."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import BaseModel

from eventsource.errors import BrokerUnavailable, FingerprintConflict, UnknownFingerprint
from eventsource.schemas import MemorySchemaStore, MessageCodec, SchemaText, message_schema


class Opened(BaseModel):
    owner: str


TEXT = message_schema(Opened, "opened").text
OTHER = SchemaText(TEXT.fingerprint, "other", TEXT.text.replace("opened", "other"))


class Recording(MemorySchemaStore):
    def __init__(self) -> None:
        super().__init__()
        self.registered: list[SchemaText] = []

    def register(self, schema: SchemaText) -> None:
        super().register(schema)
        self.registered.append(schema)


def test_the_same_text_again_changes_nothing() -> None:
    store = MemorySchemaStore()
    store.register(TEXT)
    store.register(TEXT)
    assert store.get(TEXT.fingerprint) == TEXT


def test_another_text_under_a_known_fingerprint_is_refused() -> None:
    store = MemorySchemaStore()
    store.register(TEXT)
    with pytest.raises(FingerprintConflict, match=r"schema other has the fingerprint .* of another schema, opened"):
        store.register(OTHER)
    assert store.get(TEXT.fingerprint) == TEXT


def test_an_unknown_fingerprint_is_named() -> None:
    with pytest.raises(UnknownFingerprint, match="000000000000002a"):
        MemorySchemaStore().get(42)


def test_a_schema_is_registered_before_the_first_bytes_and_once() -> None:
    store = Recording()
    codec = MessageCodec(Opened, "opened", store)
    assert store.registered == []
    value = codec.encode(Opened(owner="Ada"))
    assert value[:2] == b"\xc3\x01"
    assert int.from_bytes(value[2:10], "little") == TEXT.fingerprint
    codec.encode(Opened(owner="Ada"))
    codec.register()
    assert store.registered == [TEXT]


def test_nothing_is_encoded_while_registration_fails() -> None:
    class Down(MemorySchemaStore):
        down = True

        def register(self, schema: SchemaText) -> None:
            if self.down:
                raise BrokerUnavailable("down")
            super().register(schema)

    store = Down()
    codec = MessageCodec(Opened, "opened", store)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            codec.encode(Opened(owner="Ada"))
    store.down = False
    assert codec.decode(codec.encode(Opened(owner="Ada"))) == Opened(owner="Ada")


def test_a_reader_registers_nothing() -> None:
    store = Recording()
    value = MessageCodec(Opened, "opened", MemorySchemaStore()).encode(Opened(owner="Ada"))
    assert MessageCodec(Opened, "opened", store).decode(value) == Opened(owner="Ada")
    assert store.registered == []


def test_many_threads_register_once() -> None:
    store = Recording()
    codec = MessageCodec(Opened, "opened", store)
    barrier = threading.Barrier(8)

    def encode(_: int) -> bytes:
        barrier.wait(5)
        return codec.encode(Opened(owner="Ada"))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(encode, range(8)))) == 1
    assert store.registered == [TEXT]
