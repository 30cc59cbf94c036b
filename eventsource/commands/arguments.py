"""What a caller may give a client, or a `TestApp`: checked before anything is made of it, so that nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID

from eventsource.app import App
from eventsource.domain import Aggregate, Command, Event
from eventsource.errors import DecodeError, DefinitionError, InvalidArgument
from eventsource.log.headers import EMPTY_TRAIL, MAX_COMMAND_ID_BYTES, MAX_TEXT_BYTES, Trail, make_trail
from eventsource.log.partitioner import MAX_KEY_BYTES, aggregate_key
from eventsource.log.texts import fault_of, named_texts, shortened
from eventsource.log.token import Token
from eventsource.settings import MAX_TIMEOUT_SECONDS

WhenFull = Literal["wait", "raise"]

_WHEN_FULL: Final = get_args(WhenFull)
_VERSIONS: Final = 2**63


class Receivers:
    """The aggregates of an app, and the commands that each of them takes."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._commands: dict[object, frozenset[type[Command]]] = {}

    def check(self, aggregate: object) -> None:
        """Raises `InvalidArgument` for what is no aggregate class that can be sent to."""
        self._taken_by(aggregate)

    def check_command(self, aggregate: object, command: object) -> None:
        """Raises `DefinitionError` for a command that the aggregate does not take, `InvalidArgument` for what is none at all."""
        taken = self._taken_by(aggregate)
        if command.__class__ not in taken:
            raise self._refusal(aggregate, command)

    def _taken_by(self, aggregate: object) -> frozenset[type[Command]]:
        try:
            return self._commands[aggregate]
        except (KeyError, TypeError):  # met for the first time, or not hashable: no class at all
            pass
        if not isinstance(aggregate, type) or not issubclass(aggregate, Aggregate):
            raise InvalidArgument(f"{_shown(aggregate)} is no aggregate class: {self._mend(aggregate)}")
        definition = getattr(aggregate, "__definition__", None)
        if definition is None:
            raise InvalidArgument(f"{aggregate.__name__} is an abstract aggregate: give a class that bears a name")
        taken = self._commands[aggregate] = frozenset(definition.commands.values())
        return taken

    def _mend(self, aggregate: object) -> str:
        if isinstance(aggregate, Aggregate):
            return f"give the class, {type(aggregate).__name__}"
        named = self._app.aggregates.get(aggregate) if isinstance(aggregate, str) else None
        if named is not None:
            return f"give the class, {named.__name__}"
        return f"give one of {', '.join(known.__name__ for known in self._app.aggregates.values())}"

    def _refusal(self, aggregate: Any, command: object) -> Exception:
        if isinstance(command, type):
            return InvalidArgument(f"{command.__name__} is a class: give a command, such as {command.__name__}(…)")
        name = type(command).__name__
        if isinstance(command, Event):
            return InvalidArgument(f"{name} is an event: send the command that leads to it, or append it")
        if not isinstance(command, Command):
            # Only its type: what was meant for a command may hold what belongs into no log.
            return InvalidArgument(f"{name} is no command: give an instance of one, {self._taken(aggregate)}")
        takers = [known for known in self._app.aggregates.values() if type(command) in self._taken_by(known)]
        mend = (
            f"send it to {' or '.join(taker.__name__ for taker in takers)}"
            if takers
            else f"send one that it takes, {self._taken(aggregate)}, or add a method with @decides for it"
        )
        return DefinitionError(f"{name} is no command of {aggregate.__definition__.name!r}: {mend}")

    def _taken(self, aggregate: object) -> str:
        names = sorted(command.__name__ for command in self._taken_by(aggregate))
        return f"of {', '.join(names)}" if names else "of which it has none yet"


def key_of(aggregate: type[Aggregate[Any]], aggregate_id: object) -> bytes:
    """The record key of an aggregate. Raises `InvalidArgument` as `key_of_any` does, and for an id that is not of the form that the
    aggregate declares.
    """
    key = key_of_any(aggregate_id)
    aggregate.__definition__.check_id(str(aggregate_id))
    return key


def key_of_any(aggregate_id: object) -> bytes:
    """The record key of an aggregate that may be older than the form that its class declares for ids.

    Raises `InvalidArgument` for an id that is neither a str nor a UUID, is empty, is longer than 1,024 bytes, or contains what UTF-8 or
    Postgres cannot hold.
    """
    if not isinstance(aggregate_id, str | UUID):
        raise InvalidArgument(
            f"{_shown(aggregate_id)} is no aggregate id: give a str or a UUID, the same for the same aggregate for ever"
        )
    text = str(aggregate_id)
    if not text:
        raise InvalidArgument(
            "an aggregate id is never empty: it is the record's key and chooses the partition; give one"
        )
    fault = fault_of(text, MAX_KEY_BYTES)
    if fault is not None:
        raise InvalidArgument(f"the aggregate id {shortened(text)} {fault}")
    return aggregate_key(text)


def check_expected_version(expected_version: object) -> None:
    """Raises `InvalidArgument` for what is no version of an aggregate. None is any version."""
    if expected_version is None:
        return
    if type(expected_version) is not int or not 0 <= expected_version < _VERSIONS:
        raise InvalidArgument(
            f"expected_version={_shown(expected_version)}: give the version that was read, a whole number, 0 for an aggregate that "
            "does not exist yet"
        )


def check_required_version(expected_version: object) -> None:
    """As `check_expected_version`, where it must not be left out."""
    if expected_version is None:
        raise InvalidArgument(
            "expected_version=None: an append takes effect only on the version that it was decided on; give that version, 0 for an "
            "aggregate that does not exist yet"
        )
    check_expected_version(expected_version)


def check_repetition(command_id: object, sent_at: object) -> None:
    """Raises `InvalidArgument` for a command id that a record or Postgres cannot hold, or a time that has no zone.

    Both may be None.
    """
    if command_id is not None:
        if not isinstance(command_id, str):
            raise InvalidArgument(
                f"command_id={_shown(command_id)}: give a str, such as str({_shown(command_id)}), or leave it out"
            )
        if not command_id:
            raise InvalidArgument("command_id='': give an id of at least one character, or leave it out")
        _check_text("command_id", command_id, MAX_COMMAND_ID_BYTES)
    if sent_at is not None and (not isinstance(sent_at, datetime) or sent_at.utcoffset() is None):
        raise InvalidArgument(
            f"sent_at={_shown(sent_at)}: pass on the one of the OutcomeUnknown, an aware datetime, or leave it out"
        )


def _check_text(name: str, text: str, max_bytes: int) -> None:
    fault = fault_of(text, max_bytes)
    if fault is not None:
        raise InvalidArgument(f"{name} {fault}")


def seconds_of(timeout: object) -> float:
    """A time-out as it was given. Raises `InvalidArgument` for what is no number of seconds from 0 to `MAX_TIMEOUT_SECONDS`."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout <= MAX_TIMEOUT_SECONDS:
        raise InvalidArgument(
            f"timeout={_shown(timeout)}: give seconds, a number from 0 to {MAX_TIMEOUT_SECONDS} (seven days)"
        )
    return timeout


def check_when_full(when_full: object) -> None:
    """Raises `InvalidArgument` for what `submit` does not know."""
    if when_full not in _WHEN_FULL:
        raise InvalidArgument(f"when_full={_shown(when_full)}: give {' or '.join(map(repr, _WHEN_FULL))}")


def trail_of(correlation_id: str, causation_id: str, actor: str, metadata: Mapping[str, str] | None) -> Trail:
    """The trail of these. Raises `InvalidArgument` for what is no str, and for texts that a header or Postgres cannot hold."""
    if not (correlation_id or causation_id or actor or metadata):
        return EMPTY_TRAIL
    texts: dict[str, object] = {"correlation_id": correlation_id, "causation_id": causation_id, "actor": actor}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise InvalidArgument(f"{name}={_shown(text)}: give a str, or leave it out")
    if metadata is not None and not _is_texts_by_name(metadata):
        raise InvalidArgument("metadata takes a mapping of str to str: turn other values into texts")
    for name, text in named_texts(correlation_id, causation_id, actor, metadata or {}):
        _check_text(name, text, MAX_TEXT_BYTES)
    return make_trail(correlation_id, causation_id, actor, metadata)


def _is_texts_by_name(metadata: object) -> bool:
    return isinstance(metadata, Mapping) and all(isinstance(text, str) for pair in metadata.items() for text in pair)


def token_of(token: object) -> Token:
    """The token that was given as such or as text. Raises `InvalidArgument` for anything else."""
    if isinstance(token, str):
        try:
            return Token.parse(token)
        except DecodeError as error:
            raise InvalidArgument(str(error)) from error
    if not isinstance(token, Token):
        raise InvalidArgument(f"{_shown(token)} is no token: give the `token` of a receipt or of what was loaded")
    return token


def no_read_model(model: object, app: App) -> InvalidArgument:
    """What is raised where the class of a read model's projection is wanted."""
    builders = [consumer for consumer in app.consumers.values() if getattr(consumer, "__read_model__", None) is model]
    if builders:
        given = f"{_shown(model)} is the class of a row"
        remedy = f"give the projection that builds it, {' or '.join(map(_shown, builders))}"
    else:
        given = f"{_shown(model)} is no read model"
        remedy = "give the class of its projection; an aggregate's state is read with load"
    return InvalidArgument(f"{given}: {remedy}")


def _shown(value: object) -> str:
    return value.__name__ if isinstance(value, type) else shortened(value)
