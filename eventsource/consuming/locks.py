"""Advisory locks of Postgres, by name: they end with the transaction or the session that took them, whatever becomes of it."""

from __future__ import annotations

from hashlib import blake2b

from eventsource.consuming.database import PgConnection


def lock_key(*name: str) -> int:
    """A signed 64-bit key from the parts of a name. Two names share one about never; then they merely wait for each other."""
    digest = blake2b("\0".join(("eventsource", *name)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def lock_for_transaction(connection: PgConnection, key: int) -> None:
    """Waits for the lock; the transaction's end releases it."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [key])


def try_share_for_transaction(connection: PgConnection, key: int) -> bool:
    """Shares the lock until the transaction ends, unless somebody holds it, or waits for it, alone."""
    row = connection.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", [key]).fetchone()
    return bool(row and row[0])


def try_lock_for_session(connection: PgConnection, key: int) -> bool:
    """Takes the lock for as long as the connection lives, unless somebody has it."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()
    return bool(row and row[0])


def lock_for_session(connection: PgConnection, key: int) -> None:
    """Waits for the lock, which is held for as long as the connection lives or until `unlock_for_session`."""
    connection.execute("SELECT pg_advisory_lock(%s)", [key])


def unlock_for_session(connection: PgConnection, key: int) -> None:
    """Gives up what `lock_for_session` or `try_lock_for_session` took."""
    connection.execute("SELECT pg_advisory_unlock(%s)", [key])
