"""What a client writes and reads values with, made at first use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar, cast

from eventsource.clock import Clock, SystemClock
from eventsource.commands.builtin import pack_events, unpack_events
from eventsource.commands.registrations import Registrations
from eventsource.domain import Aggregate, Command, Event
from eventsource.errors import DefinitionError, EncodeError, InvalidArgument
from eventsource.log.events import EventDecoder
from eventsource.log.headers import type_header
from eventsource.schemas import (
    COMMAND_ROLE,
    DEFAULT_LIMITS,
    PREFIX_BYTES,
    Canonical,
    MessageCodec,
    SchemaStore,
    StateCodec,
    Taken,
    canonical_form,
)

A = TypeVar("A", bound=Aggregate[Any])

_EventCodecs = Mapping[type[Event], tuple[str, MessageCodec[Any]]]


class ClientCodecs:
    """Safe to share between threads: what two of them make at the same time is equal, and one of both is kept."""

    def __init__(self, schemas: SchemaStore, clock: Clock | None = None) -> None:
        self._schemas = schemas
        self._registrations = Registrations(clock or SystemClock())
        self._commands: dict[type[Command], MessageCodec[Any]] = {}
        self._events: dict[type[Aggregate[Any]], _EventCodecs] = {}
        self._decoders: dict[type[Aggregate[Any]], EventDecoder] = {}
        self._states: dict[type[Aggregate[Any]], StateCodec[Any]] = {}
        self._forms: dict[type[Command] | type[Aggregate[Any]], Canonical | None] = {}

    def command(self, command: Command) -> bytes:
        """A command's value, its schema registered. Raises `EncodeError`, and what registering raises."""
        return self._command_codec(type(command)).encode(command)

    def command_ahead(self, command: Command) -> bytes:
        """A command's value, whether or not its schema is registered yet. Raises `EncodeError`."""
        return self._command_codec(type(command)).encode_ahead(command)

    def command_form(self, kind: type[Command]) -> Canonical | None:
        """What gives equal commands equal bytes; None where they have them anyway."""
        if kind not in self._forms:
            self._forms[kind] = _form(self._command_codec(kind))
        return self._forms[kind]

    def append_form(self, aggregate: type[Aggregate[Any]]) -> Canonical | None:
        """As `command_form`, for what `append` makes."""
        if aggregate not in self._forms:
            forms = {ce_type: _form(codec) for ce_type, codec in self._event_codecs(aggregate).values()}
            found = {ce_type: form for ce_type, form in forms.items() if form is not None}
            self._forms[aggregate] = partial(_appended_form, found) if found else None
        return self._forms[aggregate]

    def register_command(self, kind: type[Command], patience_seconds: float) -> float:
        """Registers a command's schema before its first use. Returns how many seconds that took, 0 where it was done before.

        Raises `BrokerUnavailable` after so many seconds, and what registering it raises.
        """
        return self._registrations.ensure(
            kind, f"command {kind.message_name}", lambda: [self._command_codec(kind)], patience_seconds
        )

    def begin_command(self, kind: type[Command]) -> Future[None] | None:
        """As `register_command`, without waiting: the registration that is under way, None where there is nothing to wait for."""
        return self._registrations.begin(kind, lambda: [self._command_codec(kind)])

    def register_events(self, aggregate: type[Aggregate[Any]], patience_seconds: float) -> float:
        """Registers the schemas of all events of an aggregate, as `register_command` does."""
        return self._registrations.ensure(
            aggregate,
            f"an event of {aggregate.__definition__.name}",
            lambda: self._registrable_events(aggregate),
            patience_seconds,
        )

    def begin_events(self, aggregate: type[Aggregate[Any]]) -> Future[None] | None:
        """As `register_events`, without waiting."""
        return self._registrations.begin(aggregate, lambda: self._registrable_events(aggregate))

    def _registrable_events(self, aggregate: type[Aggregate[Any]]) -> Sequence[MessageCodec[Any]]:
        return [codec for _, codec in self._event_codecs(aggregate).values()]

    def _command_codec(self, kind: type[Command]) -> MessageCodec[Any]:
        codec = self._commands.get(kind)
        if codec is None:
            codec = self._commands.setdefault(
                kind, MessageCodec(kind, kind.message_name, self._schemas, role=COMMAND_ROLE)
            )
        return codec

    def append(self, aggregate: type[Aggregate[Any]], events: Iterable[Event]) -> bytes:
        """The value of an append, the schemas of its events registered. Raises what `append_ahead` and registering raise."""
        listed = _listed(events)
        value = self.append_ahead(aggregate, listed)
        codecs = self._event_codecs(aggregate)
        for kind in {type(event) for event in listed}:
            codecs[kind][1].register()
        return value

    def append_ahead(self, aggregate: type[Aggregate[Any]], events: Iterable[Event]) -> bytes:
        """The value of an append, whether or not the schemas of its events are registered yet.

        Raises `DefinitionError` for what is no event of the aggregate, `InvalidArgument` for none, and `EncodeError` for too many, or
        for events that take too much memory together.
        """
        codecs = self._event_codecs(aggregate)
        packed = []
        taken = Taken()
        for event in _listed(events):
            found = codecs.get(type(event))
            if found is None:
                raise DefinitionError(
                    f"{type(event).__name__} is no event of {aggregate.__definition__.name!r}: append those that it applies: "
                    f"{', '.join(sorted(known.__name__ for known in codecs))}"
                )
            ce_type, codec = found
            value = codec.encode_ahead(event)
            excess = codec.excess(value, taken, DEFAULT_LIMITS)
            if excess is not None:
                raise EncodeError(
                    f"the events of an append, at {codec.schema.text.name}: {excess}: append fewer at a time, or smaller ones"
                )
            packed.append((ce_type, value))
        if not packed:
            raise InvalidArgument("append was given no events: give at least one event, or do not append")
        return pack_events(packed)

    def _event_codecs(self, aggregate: type[Aggregate[Any]]) -> _EventCodecs:
        codecs = self._events.get(aggregate)
        if codecs is None:
            decoder = self.decoder(aggregate)
            codecs = self._events[aggregate] = {
                event: (
                    type_header(event.message_name, event.message_revision)[1].decode(),
                    decoder.codec(event),
                )
                for event in aggregate.__definition__.events.values()
            }
        return codecs

    def decoder(self, aggregate: type[Aggregate[Any]]) -> EventDecoder:
        """What reads an aggregate's events."""
        decoder = self._decoders.get(aggregate)
        if decoder is None:
            decoder = self._decoders[aggregate] = EventDecoder(aggregate, self._schemas)
        return decoder

    def state(self, aggregate: type[A]) -> StateCodec[A]:
        """What reads an aggregate's state. Raises `NoExactForm` where the class has a field that cannot be written exactly."""
        codec = self._states.get(aggregate)
        if codec is None:
            codec = self._states[aggregate] = StateCodec(aggregate, self._schemas, check_defaults=False)
        return cast(StateCodec[A], codec)


def _form(codec: MessageCodec[Any]) -> Canonical | None:
    try:
        return canonical_form(codec.schema.text.schema(), PREFIX_BYTES)
    except (LookupError, TypeError, RecursionError):
        return None  # as for the owner: values of such a schema are their own form


def _appended_form(forms: Mapping[str, Canonical], value: bytes) -> bytes:
    return pack_events(
        (ce_type, forms[ce_type](event) if ce_type in forms else event) for ce_type, event in unpack_events(value)
    )


def _listed(events: object) -> list[Event]:
    if isinstance(events, Event):
        raise InvalidArgument("append takes several events: put a single one in a list")
    if not isinstance(events, Iterable):
        raise InvalidArgument(f"append takes events, and this is of type {type(events).__name__}: put them in a list")
    return list(events)
