"""What each of librdkafka's error codes means here: one table, for every place that turns a `KafkaError` into one of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from confluent_kafka import KafkaError

from eventsource.errors import (
    AccessDenied,
    BrokerUnavailable,
    Fenced,
    LogError,
    MessageTooLarge,
    OffsetLost,
    Retriable,
    SettingsError,
    TopicMissing,
    TransactionAborted,
)

UNREACHABLE: Final = frozenset(
    {
        # The broker, or the way to it.
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._SSL,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._NODE_UPDATE,
        KafkaError._DESTROY_BROKER,
        KafkaError._UNKNOWN_BROKER,
        KafkaError._RETRY,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.STALE_BROKER_EPOCH,
        KafkaError.REBOOTSTRAP_REQUIRED,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.FETCH_SESSION_ID_NOT_FOUND,
        KafkaError.INVALID_FETCH_SESSION_EPOCH,
        KafkaError.LISTENER_NOT_FOUND,
        # Leaders, replicas and controllers that move.
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.NOT_CONTROLLER,
        KafkaError.UNKNOWN_CONTROLLER_ID,
        KafkaError.STALE_CTRL_EPOCH,
        KafkaError.PREFERRED_LEADER_NOT_AVAILABLE,
        KafkaError.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.INCONSISTENT_TOPIC_ID,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError._ISR_INSUFF,
        KafkaError.KAFKA_STORAGE_ERROR,
        # Coordinators.
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
    }
)
"""A broker is away or busy: librdkafka goes on trying by itself where it can."""

_NOT_DELIVERED: Final = frozenset(
    {
        # An idempotent write of unknown outcome: to write it again is safe.
        KafkaError._MSG_TIMED_OUT,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._QUEUE_FULL,
        KafkaError._INTR,
    }
)
FORBIDDEN: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.SECURITY_DISABLED,
        KafkaError.UNACCEPTABLE_CREDENTIAL,
        KafkaError.INVALID_PRINCIPAL_TYPE,
        KafkaError.PRINCIPAL_DESERIALIZATION_FAILURE,
        KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
        KafkaError.DELEGATION_TOKEN_AUTH_DISABLED,
        KafkaError.DELEGATION_TOKEN_EXPIRED,
        KafkaError.DELEGATION_TOKEN_NOT_FOUND,
        KafkaError.DELEGATION_TOKEN_OWNER_MISMATCH,
        KafkaError.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED,
    }
)
"""The principal is not known to the brokers, or may not do that."""

MISSING: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._NOENT,
    }
)
"""There is no such topic or partition."""

UNREADABLE: Final = frozenset({KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION})
"""A batch of records that librdkafka cannot unpack."""

LOST: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION})
"""The log no longer holds the offset."""

TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
"""A record is larger than the broker accepts."""

FENCED: Final = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.MEMBER_ID_REQUIRED,
    }
)
"""Another owner has the partition, or the group has moved on."""

_ABORTED: Final = frozenset(
    {
        KafkaError.TRANSACTION_ABORTABLE,
        KafkaError.INVALID_TXN_STATE,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError.DUPLICATE_SEQUENCE_NUMBER,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError._GAPLESS_GUARANTEE,
        KafkaError._INCONSISTENT,
    }
)
"""The producer cannot go on with what it has begun; another one can."""

WRONG_SETTING: Final = frozenset(
    {
        KafkaError._INVALID_ARG,
        KafkaError._CONFLICT,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError._UNKNOWN_PROTOCOL,
        KafkaError._FS,
    }
)
"""A client could not be made with its settings."""

_OTHER: Final = frozenset(
    {
        # Requests that are wrong, or that this cluster does not answer.
        KafkaError.UNKNOWN,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.OFFSET_METADATA_TOO_LARGE,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.INVALID_REQUIRED_ACKS,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.INVALID_SESSION_TIMEOUT,
        KafkaError.INVALID_COMMIT_OFFSET_SIZE,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError.TOPIC_ALREADY_EXISTS,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_REPLICA_ASSIGNMENT,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_REQUEST,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
        KafkaError.OPERATION_NOT_ATTEMPTED,
        KafkaError.LOG_DIR_NOT_FOUND,
        KafkaError.REASSIGNMENT_IN_PROGRESS,
        KafkaError.NON_EMPTY_GROUP,
        KafkaError.GROUP_ID_NOT_FOUND,
        KafkaError.TOPIC_DELETION_DISABLED,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError.GROUP_MAX_SIZE_REACHED,
        # Two processes with one `group.instance.id`: to join again would only throw the other one out.
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.UNRELEASED_INSTANCE_ID,
        KafkaError.ELECTION_NOT_NEEDED,
        KafkaError.NO_REASSIGNMENT_IN_PROGRESS,
        KafkaError.GROUP_SUBSCRIBED_TO_TOPIC,
        KafkaError.INVALID_RECORD,
        KafkaError.RESOURCE_NOT_FOUND,
        KafkaError.DUPLICATE_RESOURCE,
        KafkaError.INCONSISTENT_VOTER_SET,
        KafkaError.INVALID_UPDATE_VERSION,
        KafkaError.FEATURE_UPDATE_FAILED,
        KafkaError.UNSUPPORTED_ASSIGNOR,
        KafkaError.MISMATCHED_ENDPOINT_TYPE,
        KafkaError.UNSUPPORTED_ENDPOINT_TYPE,
        KafkaError.UNKNOWN_SUBSCRIPTION_ID,
        KafkaError.TELEMETRY_TOO_LARGE,
        KafkaError.INVALID_REGISTRATION,
        KafkaError.INVALID_REGULAR_EXPRESSION,
        KafkaError.INVALID_VOTER_KEY,
        KafkaError.DUPLICATE_VOTER,
        KafkaError.VOTER_NOT_FOUND,
        # Share groups and streams groups, which nothing here joins.
        KafkaError.INVALID_RECORD_STATE,
        KafkaError.SHARE_SESSION_NOT_FOUND,
        KafkaError.INVALID_SHARE_SESSION_EPOCH,
        KafkaError.SHARE_SESSION_LIMIT_REACHED,
        KafkaError.FENCED_STATE_EPOCH,
        KafkaError.STREAMS_INVALID_TOPOLOGY,
        KafkaError.STREAMS_INVALID_TOPOLOGY_EPOCH,
        KafkaError.STREAMS_TOPOLOGY_FENCED,
        # librdkafka's own: damaged data, a client in another state, events that are no errors.
        KafkaError._DESTROY,
        KafkaError._FAIL,
        KafkaError._CRIT_SYS_RESOURCE,
        KafkaError._PARTITION_EOF,
        KafkaError._UNKNOWN_GROUP,
        KafkaError._IN_PROGRESS,
        KafkaError._PREV_IN_PROGRESS,
        KafkaError._EXISTING_SUBSCRIPTION,
        KafkaError._ASSIGN_PARTITIONS,
        KafkaError._REVOKE_PARTITIONS,
        KafkaError._STATE,
        KafkaError._NO_OFFSET,
        KafkaError._OUTDATED,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError._KEY_SERIALIZATION,
        KafkaError._VALUE_SERIALIZATION,
        KafkaError._KEY_DESERIALIZATION,
        KafkaError._VALUE_DESERIALIZATION,
        KafkaError._PARTIAL,
        KafkaError._READ_ONLY,
        KafkaError._UNDERFLOW,
        KafkaError._INVALID_TYPE,
        KafkaError._FATAL,
        KafkaError._NOT_CONFIGURED,
        KafkaError._APPLICATION,
        KafkaError._NOOP,
        KafkaError._INVALID_DIFFERENT_RECORD,
    }
)


def _table(groups: Iterable[tuple[frozenset[int], type[LogError]]]) -> Mapping[int, type[LogError]]:
    return {code: kind for codes, kind in groups for code in codes}


ERROR_CLASSES: Final = _table(
    [
        (UNREACHABLE | _NOT_DELIVERED, BrokerUnavailable),
        (FORBIDDEN, AccessDenied),
        (MISSING, TopicMissing),
        (LOST, OffsetLost),
        (TOO_LARGE, MessageTooLarge),
        (FENCED, Fenced),
        (_ABORTED, TransactionAborted),
        (WRONG_SETTING | UNREADABLE | _OTHER, LogError),
    ]
)
"""The class that each code becomes, of those that `KafkaError` names. Whether to try again is a matter of the class."""

_LOST_UNDER_US: Final = "(records deleted, topic truncated or created again); find out why before anything is replayed"


def error_class(error: KafkaError) -> type[LogError]:
    """The class that an error becomes. A code newer than the table is retriable where librdkafka says so."""
    known = ERROR_CLASSES.get(error.code())
    if known is not None:
        return known
    return BrokerUnavailable if error.retriable() else LogError


def is_retriable(error: KafkaError) -> bool:
    """Whether trying again can help."""
    return issubclass(error_class(error), Retriable)


def offset_lost(error: KafkaError, doing: str) -> OffsetLost:
    """The error for a log that no longer holds what it held."""
    return OffsetLost(f"{doing}: {error.str()}: the log no longer holds the wanted offset {_LOST_UNDER_US}")


def translate(
    error: KafkaError, doing: str, bootstrap_servers: str, *, topic_seen: bool = False, reason: str = ""
) -> LogError:
    """A Kafka error as one of ours, with what was being done and what to do about it.

    `topic_seen` says that the topic was there before: a topic that is missing now has lost its records. `reason` is what
    librdkafka says of the connection, where that is known.
    """
    kind = error_class(error)
    if kind is BrokerUnavailable:
        return broker_unavailable(f"{doing}: {error.name()}", bootstrap_servers, reason or _detail(error))
    if kind is OffsetLost:
        return offset_lost(error, doing)
    if kind is TopicMissing:
        if topic_seen:
            return OffsetLost(f"{doing}: {error.str()}: the topic was there, and is gone {_LOST_UNDER_US}")
        return TopicMissing(f"{doing}: {error.str()}: make the topics with `eventsource topics apply MODULE:APP`")
    if kind is AccessDenied:
        return access_denied(doing, reason or str(error.str()))
    if kind is MessageTooLarge:
        return MessageTooLarge(f"{doing}: {error.str()}: store large content elsewhere and keep a reference to it")
    if kind is Fenced:
        return Fenced(f"{doing}: another worker owns the partition now ({error.name()}); this one stops writing to it")
    if kind is TransactionAborted:
        return TransactionAborted(f"{doing}: {error.name()}: {error.str()}: write it again with a new producer")
    return LogError(f"{doing}: {error.name()}: {error.str()}")


def broker_unavailable(doing: str, bootstrap_servers: str, reason: str = "") -> BrokerUnavailable:
    """The error for brokers that cannot be reached; `reason` is what librdkafka says of the connection."""
    because = f": {reason}" if reason else ""
    return BrokerUnavailable(
        f"no broker answers at {bootstrap_servers} ({doing}){because}: check EVENTSOURCE_KAFKA__BOOTSTRAP_SERVERS, "
        "EVENTSOURCE_KAFKA__CLIENT__SECURITY_PROTOCOL, and that Kafka runs (`eventsource dev` starts one here)"
    )


def access_denied(doing: str, reason: str) -> AccessDenied:
    """The error for a principal that the brokers do not know, or that may not do that."""
    return AccessDenied(
        f"{doing}: {reason}: check the principal's ACLs, EVENTSOURCE_KAFKA__CLIENT__SECURITY_PROTOCOL and "
        "EVENTSOURCE_KAFKA__CLIENT__SASL_…"
    )


def settings_refused(error: KafkaError) -> SettingsError:
    """The error for settings that a client cannot be made with. Its text names the setting, never the value of a secret."""
    return SettingsError(f"Kafka's client refuses its settings: {error.str()}: correct EVENTSOURCE_KAFKA__CLIENT__…")


def _detail(error: KafkaError) -> str:
    """What an error says beyond its code: for most codes that is a text of librdkafka that says nothing more."""
    text = str(error.str())
    return text if "://" in text or "/bootstrap" in text or "SSL" in text else ""
