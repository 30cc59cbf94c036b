"""What a reply to a load means to a client of the same version, and to one of another."""

from __future__ import annotations

from typing import Any, Self

import pytest

from eventsource.commands.answers import loaded_from
from eventsource.commands.client_codecs import ClientCodecs
from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.domain import Aggregate, Command, Event, creates
from eventsource.errors import DecodeError, HandlerFailed, LoadFailed, NotFound, UnknownFingerprint
from eventsource.schemas import MemorySchemaStore, StateCodec

TOPIC_ID = bytes(range(16))


class Begin(Command, name="begin"):
    pass


class Begun(Event, name="begun"):
    pass


class Base(Aggregate, abstract=True):
    size: int = 1

    @creates
    @classmethod
    def begin(cls, command: Begin) -> Begun:
        return Begun()

    @creates
    @classmethod
    def begun(cls, event: Begun) -> Self:
        return cls()


class Old(Base, name="thing"):
    pass


class Newer(Base, name="thing"):
    colour: str = "red"


class OtherDefault(Base, name="thing"):
    size: int = 9


class Stricter(Base, name="thing"):
    colour: str


class Retyped(Aggregate, name="thing"):
    size: str = "1"

    @creates
    @classmethod
    def begin(cls, command: Begin) -> Begun:
        return Begun()

    @creates
    @classmethod
    def begun(cls, event: Begun) -> Self:
        return cls()


def reply_of(state: bytes, status: Status = Status.ACCEPTED, **more: Any) -> Reply:
    return Reply("l-1", status, 3, 40, 7, state=state, **more)


@pytest.fixture
def schemas() -> MemorySchemaStore:
    return MemorySchemaStore()


def load(reply: Reply, aggregate: type[Any], schemas: MemorySchemaStore) -> Any:
    return loaded_from(reply, ClientCodecs(schemas).state(aggregate), "t-1", TOPIC_ID, patience_seconds=0)


def test_the_state_comes_with_its_version_and_token(schemas: MemorySchemaStore) -> None:
    loaded = load(reply_of(StateCodec(Old, schemas).encode(Old(size=2))), Old, schemas)
    assert (loaded.state, loaded.version) == (Old(size=2), 7)
    token = loaded.token
    assert (token.topic_id, token.partition, token.offset, token.aggregate_id, token.version) == (
        TOPIC_ID,
        3,
        40,
        "t-1",
        7,
    )


def test_a_newer_client_reads_an_older_workers_state(schemas: MemorySchemaStore) -> None:
    loaded = load(reply_of(StateCodec(Old, schemas).encode(Old(size=2))), Newer, schemas)
    assert loaded.state == Newer(size=2, colour="red")


def test_an_older_client_reads_a_newer_workers_state(schemas: MemorySchemaStore) -> None:
    loaded = load(reply_of(StateCodec(Newer, schemas).encode(Newer(size=2, colour="blue"))), Old, schemas)
    assert loaded.state == Old(size=2)


def test_another_default_does_not_matter_to_who_only_reads(schemas: MemorySchemaStore) -> None:
    assert load(reply_of(StateCodec(Old, schemas).encode(Old(size=2))), OtherDefault, schemas).state == OtherDefault(
        size=2
    )


@pytest.mark.parametrize("aggregate", [Stricter, Retyped])
def test_a_state_that_does_not_fit_says_what_to_do(aggregate: type[Any], schemas: MemorySchemaStore) -> None:
    state = StateCodec(Old, schemas).encode(Old())
    with pytest.raises(
        DecodeError, match=r"another version: .*; deploy both in one version, or load it with at_version or at_time"
    ):
        load(reply_of(state), aggregate, schemas)


def test_an_unknown_schema_may_be_known_later(schemas: MemorySchemaStore) -> None:
    state = StateCodec(Newer, MemorySchemaStore()).encode(Newer())
    with pytest.raises(UnknownFingerprint):
        load(reply_of(state), Old, schemas)


def test_what_became_of_a_load_that_failed(schemas: MemorySchemaStore) -> None:
    with pytest.raises(NotFound, match="thing 't-1' does not exist"):
        load(reply_of(b"", Status.NOT_FOUND), Old, schemas)
    with pytest.raises(LoadFailed, match="MessageTooLarge: read it from a read model") as failed:
        load(
            reply_of(b"", Status.FAILED, code="MessageTooLarge", details='{"message": "read it from a read model"}'),
            Old,
            schemas,
        )
    assert isinstance(failed.value, HandlerFailed)
