"""The local state store of one partition: aggregates and answers on disk, and the log position that they reflect.

It is a cache of the log and nothing else: it may be deleted at any time, is written only with what is committed, and every
write replaces contents and position in one atomic step. RocksDB, as Kafka Streams has it; see ADR 10.
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import structlog
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, ReadOptions, WriteBatch

from eventsource.commands.state_folder import make_private
from eventsource.errors import StateStoreFailed
from eventsource.forks import KeptInChildren

_log = structlog.get_logger("eventsource.state_store")

FORMAT: Final = 3
_OTHER_CODE: Final = "it is of another version of the code"
_IDENTITY: Final = b"m"
_POSITION: Final = b"p"
_AGGREGATE: Final = b"a"
_ANSWER: Final = b"i"
_FORGET: Final = b"t"
_PLACE = struct.Struct(">qq")  # version, offset of the newest event; the snapshot follows
_TIME = struct.Struct(">Q")
_LENGTH = struct.Struct(">H")
_WRITE_BUFFER_BYTES: Final = 4 << 20
_BLOCK_CACHE_BYTES: Final = 4 << 20
_ROOM_BYTES: Final = 8 << 20  # a write-ahead log, a table and a manifest begin with less
_FORGOTTEN_MORE: Final = 20_000  # than come in: so a night's answers are gone after a hundred checkpoints
_BLOOM_BITS_PER_KEY: Final = 10  # one look-up in a hundred for an unknown id reads a block


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """Whose contents a store holds. Any difference means that they are not ours, or not any more."""

    aggregate: str
    partition: int
    commands_topic_id: str
    events_topic_id: str
    outcomes_topic_id: str
    code: str
    """The fingerprint of what turns events into state."""
    window_ms: int | None
    format: int = FORMAT


@dataclass(slots=True)
class StorePosition:
    """Up to where in the log a partition's memory goes.

    `events` and `outcomes` are the next offsets to read; -1: from the first. `newest_event` and `newest_outcome` are offset and
    `ce_id` of the last record read: found again at the same place, they show that the log is the one that was read.
    """

    events: int = -1
    outcomes: int = -1
    newest_event: tuple[int, str] = (-1, "")
    newest_outcome: tuple[int, str] = (-1, "")
    last_origin: int = -1
    """The offset of the newest command that left an event or outcome; -1: none has."""
    newest_ms: int = 0
    """The LogAppendTime of the newest command that was answered, in milliseconds: what was forgotten follows from it."""
    missing: int = 0
    """How many aggregates the contents cannot stand for: stopped, or of a state that cannot be written exactly."""

    def copy(self) -> StorePosition:
        return replace(self)


class StateStore:
    """One partition's store in a folder of its own. Belongs to one thread. Everything raises `StateStoreFailed`."""

    def __init__(self, folder: Path, identity: StoreIdentity) -> None:
        self._folder = folder
        self._identity = identity
        self._database: Rdict | None = None
        self._kept: KeptInChildren | None = None
        # A command's id is there once in a thousand times: the blocks that are looked into in vain are no use to the next.
        self._cached, self._uncached = ReadOptions(), ReadOptions()
        self._uncached.fill_cache(False)  # type: ignore[call-arg]  # its stub left the argument out
        self.position: StorePosition | None = None
        """What the contents reflect; None: there are none."""

    @classmethod
    def open(cls, folder: Path, identity: StoreIdentity) -> Self:
        """Opens the store, or makes it. One that is torn or foreign is thrown away, and the reason logged."""
        store = cls(folder, identity)
        try:
            reason = store._load()
        except Exception as error:  # noqa: BLE001 - RocksDB's errors have no type of their own; whatever it is, the log has it all
            reason = f"it cannot be read: {error}"
        if reason is not None:
            # Stores are built again after every change of the code, and one line says so of all partitions.
            log = _log.info if reason.startswith(_OTHER_CODE) else _log.warning
            log(
                "state_store_discarded",
                aggregate=identity.aggregate,
                partition=identity.partition,
                folder=str(folder),
                reason=reason,
                about="state_store_discarded",
            )
            store.reset()
        return store

    def _load(self) -> str | None:
        """Opens what is there. Returns why it is of no use, or None."""
        existed = (self._folder / "CURRENT").exists()
        self._open()
        if not existed:
            self._put_identity()
            return None
        found = self._decoded(_IDENTITY)
        if found is None:
            return "it does not say whose it is"
        wanted = asdict(self._identity)
        differing = sorted(name for name in wanted if found.get(name) != wanted[name])
        if differing == ["code"]:
            return f"{_OTHER_CODE}: the state is read from the log"
        if differing:
            return f"it is another's: {', '.join(f'{name} {found.get(name)!r}, not {wanted[name]!r}' for name in differing)}"
        written = self._decoded(_POSITION)
        if written is None:
            return None
        newest = {name: tuple(written[name]) for name in ("newest_event", "newest_outcome")}
        position = StorePosition(**{**written, **newest})
        if position.missing:
            return f"{position.missing} aggregates are not in it, because they were stopped or could not be written exactly"
        self.position = position
        return None

    def reset(self) -> None:
        """Throws the contents away and begins anew."""
        self.close()
        self.position = None
        try:
            if self._folder.exists():
                shutil.rmtree(self._folder)
            self._open()
            self._put_identity()
        except Exception as error:  # RocksDB raises plain Exception
            raise self._failed("cannot be made", error) from error

    def reopen(self) -> None:
        """Opens the store again after a failed write, if there is room: RocksDB writes nothing more after an error of the disk.

        The store stays open for reading where there is none.
        """
        try:
            with tempfile.TemporaryFile(dir=self._folder) as probe:
                probe.write(bytes(_ROOM_BYTES))
        except OSError as error:
            raise self._failed("cannot be written", error) from error
        self.close()
        try:
            self._open()
        except Exception as error:  # RocksDB raises plain Exception
            raise self._failed("cannot be opened", error) from error

    def _open(self) -> None:
        make_private(self._folder)
        self._database = Rdict(str(self._folder), _options())
        self._kept = KeptInChildren(self._database)

    def _put_identity(self) -> None:
        self._rocks().put(_IDENTITY, json.dumps(asdict(self._identity)).encode())

    def _decoded(self, key: bytes) -> dict[str, Any] | None:
        value = self._rocks().get(key)
        return None if value is None else json.loads(value)

    # --- reading -------------------------------------------------------------------------------------------------

    def aggregates(self, aggregate_ids: Sequence[str]) -> dict[str, tuple[int, int, bytes]]:
        """Version, offset and snapshot of those aggregates that the store holds."""
        found = self._get([_AGGREGATE + id_.encode() for id_ in aggregate_ids])
        size = _PLACE.size
        return {
            id_: (*_PLACE.unpack_from(value), value[size:])
            for id_, value in zip(aggregate_ids, found, strict=True)
            if value is not None
        }

    def answers(self, command_ids: Sequence[str]) -> dict[str, bytes]:
        """The packed answers to those commands that the store knows."""
        if not command_ids:
            return {}
        keys = [_ANSWER + id_.encode() for id_ in command_ids]
        rocks = self._rocks()
        # Set for all reads and set back: for a list of keys, rocksdict leaves out the options that are given with it.
        rocks.set_read_options(self._uncached)
        try:
            found = self._get(keys)
        finally:
            rocks.set_read_options(self._cached)
        return {id_: value for id_, value in zip(command_ids, found, strict=True) if value is not None}

    def _get(self, keys: list[Any]) -> list[bytes | None]:
        if not keys:
            return []
        try:
            found: list[bytes | None] = self._rocks().get(keys)  # type: ignore[assignment]  # a list for a list
        except Exception as error:
            raise self._failed("cannot be read", error) from error
        return found

    # --- writing -------------------------------------------------------------------------------------------------

    def write(
        self,
        position: StorePosition,
        aggregates: Iterable[tuple[str, int, int, bytes]],
        answers: Sequence[tuple[bytes, bytes]],
        *,
        forget_before_ms: int | None = None,
    ) -> None:
        """Takes in changed aggregates (id, version, offset, snapshot) and new answers (id, packed), and moves to `position`: all or
        nothing.

        Answers written at a position whose `newest_ms` lies before `forget_before_ms` are dropped, the oldest first: more of
        them than come in, but not all at once. `position` is looked at last, when all aggregates were asked for.
        """
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        for id_, version, offset, snapshot in aggregates:
            put(_AGGREGATE + id_.encode(), _PLACE.pack(version, offset) + snapshot)
        for answer_id, answer in answers:
            put(_ANSWER + answer_id, answer)
        if forget_before_ms is not None:
            self._forget(batch, forget_before_ms, len(answers) + _FORGOTTEN_MORE)
            if answers:
                put(self._forget_key(position), _pack_ids([answer_id for answer_id, _ in answers]))
        put(_POSITION, json.dumps(asdict(position)).encode())
        try:
            self._rocks().write(batch)
        except Exception as error:
            raise self._failed("cannot be written", error) from error
        self.position = position

    def _forget_key(self, position: StorePosition) -> bytes:
        return (
            _FORGET
            + _TIME.pack(position.newest_ms)
            + _TIME.pack(position.events + 1)
            + _TIME.pack(position.outcomes + 1)
        )

    def _forget(self, batch: WriteBatch, before_ms: int, at_least: int) -> None:
        """Drops what was taken in by the oldest writes, until these are as many answers as wanted, or all that are due."""
        forgotten = 0
        end = _FORGET + _TIME.pack(max(0, before_ms))
        try:
            items: Iterable[tuple[Any, Any]] = self._rocks().items(from_key=_FORGET)
            for key, value in items:
                if not _FORGET <= key < end or forgotten >= at_least:
                    return
                for id_ in _unpack_ids(value):
                    batch.delete(_ANSWER + id_)
                    forgotten += 1
                batch.delete(key)
        except Exception as error:
            raise self._failed("cannot be read", error) from error

    def close(self) -> None:
        """Closes the store; it may be opened again."""
        database, self._database, self._kept = self._database, None, None
        if database is not None:
            try:
                database.close()
            except Exception as error:  # noqa: BLE001 - what is lost is read from the log again
                _log.warning("state_store_not_closed", folder=str(self._folder), error=str(error))

    def _rocks(self) -> Rdict:
        if self._database is None:
            raise StateStoreFailed(f"the state store {self._folder} is closed: report this")
        return self._database

    def _failed(self, what: str, error: Exception) -> StateStoreFailed:
        return StateStoreFailed(
            f"the state store {self._folder} {what} ({error}): make room and see to the folder's permissions, or set "
            "EVENTSOURCE_WORKER__STATE_DIR to another; it is built anew from the log"
        )


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_background_jobs(1)
    options.set_keep_log_file_num(1)
    options.set_max_open_files(64)
    options.set_compression_type(DBCompressionType.lz4())
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(_BLOOM_BITS_PER_KEY, False)
    blocks.set_block_cache(Cache(_BLOCK_CACHE_BYTES))
    options.set_block_based_table_factory(blocks)
    return options


def _pack_ids(ids: Iterable[bytes]) -> bytes:
    parts = []
    for id_ in ids:
        parts.append(_LENGTH.pack(len(id_)))
        parts.append(id_)
    return b"".join(parts)


def _unpack_ids(data: bytes) -> Iterable[bytes]:
    at = 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        yield data[at : at + length]
        at += length
