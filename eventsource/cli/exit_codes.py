"""The exit codes of every `eventsource` command: a script can trust them.

| code | meaning | what a script may do |
|---|---|---|
| 0 | done; a worker drained in order | go on |
| 1 | something unexpected failed | look at it: `--debug` shows the traceback |
| 2 | wrong usage, input, setting or definition | correct it; trying again changes nothing |
| 3 | a server is unavailable or did not answer in time; no command was executed | try again later |
| 4 | cluster, topics, database, read model or aggregate are missing, or not as demanded | fix that first: the message says how |
| 5 | the log or its offsets are in danger | stop writing and inspect: nothing may be retried blindly |
| 6 | refused: the domain rejected the command, or the answer at a prompt was no; nothing was done | go on, or decide otherwise |
| 7 | `send` got no answer: the command may have been executed | repeat it, but only with the printed `--command-id` and `--sent-at` |
| 130 | interrupted by Ctrl-C | |
| 141 | the reader of the output went away | |
| 143 | ended by a second SIGTERM before the drain was done | |
"""

from __future__ import annotations

from typing import Final

from eventsource import errors
from eventsource.domain.rejected import Rejected

OK: Final = 0
UNEXPECTED: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 3
NOT_AS_DEMANDED: Final = 4
DANGER: Final = 5
REFUSED: Final = 6
OUTCOME_UNKNOWN: Final = 7
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
TERMINATED: Final = 143

# The first class that fits decides, so special ones stand before their bases.
_KINDS: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (errors.ForkDetected, DANGER),
    (errors.OffsetLost, DANGER),
    (errors.FingerprintConflict, DANGER),
    (errors.DefinitionError, USAGE),
    (errors.SettingsError, USAGE),
    (errors.EncodeError, USAGE),
    (errors.InvalidArgument, USAGE),
    (errors.CommandIdReused, USAGE),
    (errors.EmbeddedStackMisused, USAGE),
    (Rejected, REFUSED),
    (errors.InvariantBroken, REFUSED),
    (errors.TopicMissing, NOT_AS_DEMANDED),
    (errors.TopicMismatch, NOT_AS_DEMANDED),
    (errors.ClusterMismatch, NOT_AS_DEMANDED),
    (errors.DatabaseRefused, NOT_AS_DEMANDED),
    (errors.ReadModelOutdated, NOT_AS_DEMANDED),
    (errors.SequenceParked, NOT_AS_DEMANDED),
    (errors.NotFound, NOT_AS_DEMANDED),
    (errors.AlreadyExists, NOT_AS_DEMANDED),
    (errors.VersionConflict, NOT_AS_DEMANDED),
    (errors.Expired, NOT_AS_DEMANDED),
    (errors.VersionNotReached, NOT_AS_DEMANDED),
    (errors.LoadUnanswered, UNAVAILABLE),  # a load changes nothing
    (errors.OutcomeUnknown, OUTCOME_UNKNOWN),
    (errors.Retriable, UNAVAILABLE),
)


def exit_code_of(error: BaseException) -> int:
    """The exit code that an error ends a command with."""
    return exit_code_of_kind(type(error))


def exit_code_of_kind(kind: type[BaseException]) -> int:
    """The exit code that errors of this class end a command with."""
    return next((code for base, code in _KINDS if issubclass(kind, base)), UNEXPECTED)
