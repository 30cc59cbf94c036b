"""A namespace of its own for each test, and the removal of all that was made in it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventsource.errors import EventSourceError
from eventsource.names import check_name

if TYPE_CHECKING:
    import psycopg

_REQUEST_SECONDS = 30.0
_RETRY_SECONDS = 0.05


def new_namespace(hexadecimal: str) -> str:
    """A valid namespace such as `t-1a2b3c4d` from at least eight hexadecimal digits."""
    return check_name(f"t-{hexadecimal[:8]}", "namespace")


def belongs(name: str, namespace: str) -> bool:
    """Whether a topic or consumer group has this namespace; `t-1a` owns `t-1a.bank.events`, not `t-1ab.bank.events`."""
    return name == namespace or name.startswith(f"{namespace}.")


def owns_schema(schema: str, namespace: str) -> bool:
    """Whether a Postgres schema has this namespace (`Names.database_schema`: dots and hyphens become underscores)."""
    prefix = namespace.replace("-", "_")
    return schema == prefix or schema.startswith(f"{prefix}__")


def remove_namespace(namespace: str, *, bootstrap_servers: str, postgres_url: str) -> None:
    """Deletes every topic, consumer group and Postgres schema of `namespace`.

    Raises `EventSourceError` if a group still has members, or something cannot be deleted: end what the test started first.
    """
    check_name(namespace, "namespace")
    remove_from_kafka(namespace, bootstrap_servers)
    remove_from_postgres(namespace, postgres_url)


def remove_stores(namespace: str, state_dir: Path) -> None:
    """Deletes the local state stores of `namespace`."""
    for folder in state_dir.glob(f"{namespace}.*"):
        shutil.rmtree(folder, ignore_errors=True)


def remove_from_kafka(namespace: str, bootstrap_servers: str, *, timeout_seconds: float = 15.0) -> None:
    """Deletes groups, then topics. A group whose members are just leaving is waited for."""
    from eventsource.log.kafka_clients import KafkaAdmin

    admin: Any = KafkaAdmin({"bootstrap.servers": bootstrap_servers})
    listed = admin.list_consumer_groups(request_timeout=_REQUEST_SECONDS).result()
    groups = [group.group_id for group in listed.valid if belongs(group.group_id, namespace)]
    _until_deleted("consumer group", groups, admin.delete_consumer_groups, timeout_seconds)
    topics = [name for name in admin.list_topics(timeout=_REQUEST_SECONDS).topics if belongs(name, namespace)]
    _until_deleted("topic", topics, admin.delete_topics, timeout_seconds)


def _until_deleted(what: str, names: list[str], delete: Callable[[list[str]], Any], timeout_seconds: float) -> None:
    from confluent_kafka import KafkaError, KafkaException

    gone = {KafkaError.GROUP_ID_NOT_FOUND, KafkaError.UNKNOWN_TOPIC_OR_PART}
    passing = {KafkaError.NON_EMPTY_GROUP, KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT}
    deadline = time.monotonic() + timeout_seconds
    while names:
        left: list[str] = []
        for name, future in delete(names).items():
            try:
                future.result()
            except KafkaException as error:
                code = error.args[0].code()
                if code in gone:
                    continue
                if code not in passing or time.monotonic() >= deadline:
                    raise EventSourceError(
                        f"cannot delete {what} {name} after the test ({error.args[0].str()}): end every worker and consumer "
                        "that the test started"
                    ) from error
                left.append(name)
        names = left
        if names:
            time.sleep(_RETRY_SECONDS)


def remove_from_postgres(namespace: str, postgres_url: str) -> None:
    """Drops the schemas, ending the sessions that still hold locks in them."""
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True, connect_timeout=10) as connection:
        names = [row[0] for row in connection.execute("SELECT nspname FROM pg_namespace").fetchall()]
        for name in sorted(name for name in names if owns_schema(name, namespace)):
            _drop_schema(connection, name)


def _drop_schema(connection: psycopg.Connection, name: str) -> None:
    from psycopg import sql

    # A session that a failed test left in a transaction would make DROP wait for ever.
    connection.execute(
        """
        SELECT pg_terminate_backend(pid)
        FROM pg_locks JOIN pg_class ON pg_class.oid = pg_locks.relation
        JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
        WHERE nspname = %s AND pid <> pg_backend_pid()
        """,
        [name],
    )
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
