"""Every error of the framework, in one tree.

Whether trying again can help is a matter of type: catch `Retriable`. Every message says what to do.
`Rejected`, the base of a domain's own rejections, lives in `eventsource.domain.rejected`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


class EventSourceError(Exception):
    """Base of everything that the framework raises on purpose."""


class Retriable(EventSourceError):
    """Base of the errors that may pass when the same thing is tried again."""


# --- definitions and settings ------------------------------------------------------------------------------------


class DefinitionError(EventSourceError, TypeError):
    """Raised while a class is defined: it names the class, the method or field, and the mend."""


class NoExactForm(DefinitionError):
    """Raised when a message's field has a type that Avro cannot hold exactly. Choose the type that the text names."""


class UnresolvedReference(DefinitionError):
    """Raised when a message's annotation names a class that is not defined (yet). Define it before the message is used."""


class NaiveDatetimeWarning(UserWarning):
    """Given while a message is defined: a field takes datetimes without a time zone. The text names the field and what to write."""


class SettingsError(EventSourceError):
    """Raised when a setting is missing or wrong. The text names the setting and where it was read from."""


# --- what became of a command ------------------------------------------------------------------------------------


class CommandError(EventSourceError):
    """Base of the answers to a command that are neither success nor the domain's own rejection."""


class InvalidArgument(EventSourceError, ValueError):
    """Raised when a call's arguments are out of range or contradict each other. Nothing was sent."""


class NotFound(CommandError):
    """Raised when a command meets an aggregate that does not exist, or a load one that did not exist yet at that time."""

    def __init__(self, aggregate: str, aggregate_id: str, at_time: datetime | None = None) -> None:
        super().__init__(
            f"{aggregate} {aggregate_id!r} does not exist: send it a command that creates it first"
            if at_time is None
            else f"{aggregate} {aggregate_id!r} did not exist yet at {at_time.isoformat()}: give a later time"
        )
        self.aggregate = aggregate
        self.aggregate_id = aggregate_id


class AlreadyExists(CommandError):
    """Raised when a command that creates meets an aggregate that exists already. Use another id, or change it."""

    def __init__(self, aggregate: str, aggregate_id: str) -> None:
        super().__init__(
            f"{aggregate} {aggregate_id!r} exists already: use another id, or send a command that changes it"
        )
        self.aggregate = aggregate
        self.aggregate_id = aggregate_id


class VersionConflict(CommandError):
    """Raised when an aggregate moved on since the caller read it. Load it again and decide anew."""

    def __init__(self, aggregate_id: str, expected: int, actual: int) -> None:
        super().__init__(f"{aggregate_id}: expected version {expected}, found {actual}: load it again and decide anew")
        self.aggregate_id = aggregate_id
        self.expected = expected
        self.actual = actual


class HandlerFailed(CommandError):
    """Raised when the domain's own code failed on a command or an append, or could not read it.

    Nothing was written for it. Mend what the text names, then send it again under a new command id.
    """

    def __init__(self, command_id: str, error: str, message: str) -> None:
        super().__init__(
            f"command {command_id} failed with {error}: {message}; nothing was written: mend the cause, then send it again under a "
            "new command id"
        )
        self.command_id = command_id
        self.error = error


class LoadFailed(HandlerFailed):
    """Raised when an aggregate's state cannot be given: it is stopped, an event cannot be applied, or the state cannot be sent.

    `error` is the class of what was raised. Mend what the text names, then load it again.
    """

    def __init__(self, command_id: str, aggregate: str, aggregate_id: str, error: str, message: str) -> None:
        CommandError.__init__(self, f"{aggregate} {aggregate_id!r} cannot be loaded: {error}: {message}")
        self.command_id = command_id
        self.error = error
        self.aggregate = aggregate
        self.aggregate_id = aggregate_id


class VersionNotReached(CommandError):
    """Raised when an aggregate is loaded at a version that it has not reached. Ask for one up to `newest`."""

    def __init__(self, aggregate_id: str, version: int, newest: int) -> None:
        super().__init__(
            f"{aggregate_id}: there is no version {version} yet, the newest is {newest}: ask for that or less"
        )
        self.aggregate_id = aggregate_id
        self.version = version
        self.newest = newest


class InvariantBroken(CommandError):
    """Raised when an aggregate's invariant returned False after a command's or an append's events. Nothing was written: decide
    otherwise, in the method with `@decides` or where the append is made.
    """

    def __init__(self, aggregate: str, invariant: str) -> None:
        super().__init__(
            f"{aggregate}: invariant {invariant!r} does not hold after these events: refuse what leads to them in the method with "
            "@decides, or do not append them"
        )
        self.aggregate = aggregate
        self.invariant = invariant


class DecisionChangedState(CommandError):
    """Raised when a method with `@decides` or `@creates` changed the aggregate instead of only returning events. Nothing was written
    and the change was undone: make it in the method that applies the event.
    """

    def __init__(self, aggregate: str, fields: Sequence[str]) -> None:
        super().__init__(
            f"{aggregate}: the decision changed {', '.join(fields)}, and no event says so: return an event, and make the change in the "
            "method that applies it"
        )
        self.aggregate = aggregate
        self.fields = tuple(fields)


class Expired(CommandError):
    """Raised when a command is older than the deduplication window. It was not executed now; whether it was before is not known any
    more: look at the aggregate, and send it under a new command id if it has not taken effect.
    """

    def __init__(self, command_id: str, window_seconds: float) -> None:
        super().__init__(
            f"command {command_id} is older than the deduplication window of {window_seconds:g} s and was not executed now; whether "
            "it was before is not known any more: load the aggregate, and send it under a new command id if it has not taken effect"
        )
        self.command_id = command_id
        self.window_seconds = window_seconds


class CommandIdReused(CommandError):
    """Raised when a known command id arrives with another content. Nothing was executed: give the new command its own id.

    An id is known to the owner of the partition that it was sent to: use a command id for one aggregate only.
    """

    def __init__(self, command_id: str) -> None:
        super().__init__(
            f"command id {command_id} was used before with another content; nothing was executed: give the new command its own id"
        )
        self.command_id = command_id


class OutcomeUnknown(CommandError, Retriable):
    """Raised when no answer came in time. The command may or may not have been executed.

    Send the same command again with `command_id=error.command_id, sent_at=error.sent_at`: it takes effect at most once.
    """

    def __init__(self, command_id: str, sent_at: datetime, waited_seconds: float) -> None:
        super().__init__(
            f"no answer to command {command_id} within {waited_seconds:g} s; it may have been executed: send it again with "
            "the same command_id and sent_at, and it takes effect at most once (is a worker running?)"
        )
        self.command_id = command_id
        self.sent_at = sent_at
        self.waited_seconds = waited_seconds


class LoadUnanswered(OutcomeUnknown):
    """Raised when no answer to a load came in time. A load changes nothing: load it again."""

    def __init__(self, command_id: str, sent_at: datetime, waited_seconds: float) -> None:
        CommandError.__init__(
            self,
            f"no answer to the load within {waited_seconds:g} s; it changes nothing: load it again (is a worker running?)",
        )
        self.command_id = command_id
        self.sent_at = sent_at
        self.waited_seconds = waited_seconds


class Backlogged(CommandError, Retriable):
    """Raised when the client's bound is reached and the caller chose not to wait, or waited in vain. Nothing was sent."""

    def __init__(self, in_flight: int) -> None:
        super().__init__(
            f"{in_flight} requests are in flight already, nothing was sent: try again later, or with when_full='wait'"
        )
        self.in_flight = in_flight


class ClientClosed(CommandError):
    """Raised when a closed client is used. Connect again."""


class ForkedClient(CommandError):
    """Raised when a client is used in a process forked from the one that connected it. Connect after the fork."""


# --- schemas -----------------------------------------------------------------------------------------------------


class SchemaError(EventSourceError):
    """Base of the errors in writing or reading a message's bytes."""


class EncodeError(SchemaError):
    """Raised when a value does not fit the exact form of its field. The text names message, field and value's type."""


class DecodeError(SchemaError):
    """Raised when bytes are not what their header says, or cannot become today's class."""


class UnknownFingerprint(SchemaError, Retriable):
    """Raised when a value names a schema that the schemas topic does not hold, even after catching up with it."""


class FingerprintConflict(SchemaError):
    """Raised when a different schema text arrives under a known fingerprint. It is refused: nothing was written."""


# --- the log -----------------------------------------------------------------------------------------------------


class LogError(EventSourceError):
    """Base of the errors in talking to Kafka."""


class BrokerUnavailable(LogError, Retriable):
    """Raised when no broker answers. Check the address and that the broker runs."""


class AccessDenied(LogError):
    """Raised when the brokers do not know the principal, or it may not do that. The text has their reason."""


class TopicMissing(LogError):
    """Raised when a topic that the app needs is not there. `eventsource topics apply MODULE:APP` makes it."""


class TopicMismatch(LogError):
    """Raised when a topic is not what the app recorded or demands (partition count, topic id, retention, …)."""


class ClusterMismatch(LogError):
    """Raised when the Kafka cluster is not set up as the log demands (replicas, elections, time-outs, …). The text has the mend."""


class HeaderError(LogError):
    """Raised when a record's headers are not those of the wire reference."""


class MessageTooLarge(LogError):
    """Raised when one command's events are larger than the broker takes."""


class Fenced(LogError, Retriable):
    """Raised when another worker owns the partition now. What was not committed is gone; the new owner carries on."""


class TransactionAborted(LogError, Retriable):
    """Raised when a transaction did not commit, or may not have. The owner returns to the last committed state."""


class ProducersReplaced(TransactionAborted):
    """Raised before a transaction is begun with producers that must not be used again. Others take their place."""


class RecordRefused(TransactionAborted):
    """Raised when a transaction was aborted because one of its records cannot be written at all: too large, or too many."""


class StateStoreFailed(Retriable):
    """Raised when the local state store cannot be written or read. It is built anew from the log; nothing is lost."""


class StateStoreFull(Retriable):
    """Raised when a partition's share of the memory is used up while its state store cannot be written. Make room on the disk."""


class ReadTimedOut(LogError, Retriable):
    """Raised when the log could not be read to its end in time. Read it again with more time."""


class ForkDetected(LogError):
    """Raised when the log itself shows a gap, a repeat or an incomplete command. The aggregate is stopped."""


class OffsetLost(LogError):
    """Raised when the log lost records, or the committed offset lies below what was handled: going on would skip or repeat."""


# --- Postgres and read models ------------------------------------------------------------------------------------


class DatabaseUnavailable(Retriable):
    """Raised when Postgres does not answer, or refuses the connection. The text says which and what to check."""


class DatabaseRefused(EventSourceError):
    """Raised when Postgres refuses a statement for good: a permission or a table is missing. The text says which."""


class ReadModelReadOnly(EventSourceError):
    """Raised when a session of `client.read` is used to write. Send a command: projections alone write to read models."""

    def __init__(self, projection: str, attempt: str) -> None:
        super().__init__(
            f"the session on projection {projection!r} is read-only, and {attempt}: nothing was written; send a command, whose events "
            "the projection writes into its read model"
        )
        self.projection = projection


class PositionConflict(Retriable):
    """Raised when somebody else moved a consumer's position. This one reads it anew and carries on from there."""


class NotCaughtUp(Retriable):
    """Raised when a read model did not reach the token in time. Wait longer, or read what is there."""


class SequenceParked(EventSourceError):
    """Raised when the sequence that a token names is parked: the read model will not reach it before it is mended."""


class ProjectionFailed(EventSourceError):
    """Raised when a projection's own code failed on an event, or made a row that cannot be stored.

    Nothing of its batch was written and the projection stands still there. Mend the handler (`error.__cause__` is what it
    raised) and start the worker again: it carries on with that event.
    """

    def __init__(
        self,
        *,
        projection: str,
        handler: str,
        event: str,
        aggregate_id: str,
        version: int,
        position: str,
        error: BaseException,
        row: tuple[object, ...] | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(
            f"projection {projection!r} stands still: {handler} failed on event {event!r} of {aggregate_id!r} (version {version}, "
            f"{position}) with {type(error).__name__}: {error}; nothing of that batch was written: mend it and start the worker again"
        )
        self.projection = projection
        self.handler = handler
        self.event = event
        self.aggregate_id = aggregate_id
        self.version = version
        self.position = position
        self.row = row
        """The key of the row that the database does not take, where that is the reason."""
        self.column = column
        """The column that it does not take, where it is one alone."""


class ReadModelRebuilding(Retriable):
    """Raised when a read model is being rebuilt elsewhere. Try again later: whoever waits carries on after it."""


class ReadModelOutdated(EventSourceError):
    """Raised when a read model in the database was built by another revision or table shape. Rebuild it."""


# --- the embedded stack ------------------------------------------------------------------------------------------


class EmbeddedStackError(EventSourceError):
    """Raised when the embedded broker or database could not be installed, started or stopped. The text says what to do."""


class EmbeddedDownloadFailed(EmbeddedStackError, Retriable):
    """Raised when the embedded broker could not be downloaded. What was downloaded so far is kept: try again."""


class EmbeddedStackMisused(EmbeddedStackError):
    """Raised when the embedded stack cannot do what it is asked for: a folder that cannot be written or is in use, a wrong port.

    Trying again changes nothing: correct what the text names.
    """


# --- workers -----------------------------------------------------------------------------------------------------


class DrainTimeout(EventSourceError):
    """Raised when runners did not finish their batches in time. What they had not committed is done again by the next owner."""

    def __init__(self, runners: Sequence[str], waited_seconds: float) -> None:
        super().__init__(
            f"{', '.join(runners)} did not finish within {waited_seconds:g} s; what was not committed is done again by the next owner: "
            "raise EVENTSOURCE_WORKER__DRAIN_SECONDS, or make the batches smaller"
        )
        self.runners = tuple(runners)
        self.waited_seconds = waited_seconds


class RunnerStopped(EventSourceError):
    """Raised when a runner returned although nobody told it to stop, or something in it called `sys.exit` or the like.

    The first is a defect of the runner: report it. For the second see `error.__cause__`: code that a runner calls must raise
    an `Exception`.
    """

    def __init__(self, runner: str, ended_by: BaseException | None = None) -> None:
        if ended_by is None:
            message = f"runner {runner} ended although nobody told it to: report it as a defect of that runner"
        else:
            message = (
                f"runner {runner} was ended by {ended_by!r} in code that it called: look for sys.exit() or a cancelled task there, "
                "and raise an ordinary exception instead"
            )
        super().__init__(message)
        self.runner = runner
