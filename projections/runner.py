"""A projection at work: reads its partitions, folds, writes, and finds its way back after whatever happened to it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import structlog

from eventsource.consuming.database import Database
from eventsource.consuming.positions import Move
from eventsource.errors import PositionConflict, ReadModelRebuilding, Retriable
from eventsource.failure import about
from eventsource.log.membership import Membership, Owned
from eventsource.log.record import Record
from projections.batch_watch import BatchWatch
from projections.decoding import BatchDecoder
from projections.feed import Feed
from projections.plan import Plan
from projections.store import ProjectionStore, Topic

if TYPE_CHECKING:
    from eventsource.consuming.definition import ConsumerContext

TopicAndPartition = tuple[str, int]

_log = structlog.get_logger("projections.runner")
_READ_SECONDS: Final = 0.1
_MARKERS_SECONDS: Final = 0.2
"""How often, at most, positions move past the ends of transactions while there is nothing else to do."""
_POSITION_CHECK_SECONDS: Final = 1.0
"""How often, while there is nothing else to do, it looks whether somebody else moved its positions: a rebuild, say."""
_TOPIC_CHECK_SECONDS: Final = 10.0
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 2.0


class ProjectionRunner:
    """One worker's share of a projection.

    Which partitions are its own is the consumer group's matter; from where to read them is Postgres', and who may write is
    decided there too, by compare-and-set on the position. So a worker that does not know yet that it lost a partition
    does no harm.
    """

    def __init__(self, plan: Plan, context: ConsumerContext) -> None:
        self._plan = plan
        self._settings = context.settings
        self._clock = context.clock
        self._schemas = context.schemas
        self._watch = BatchWatch(context.clock)
        self._assigned_epoch = -1
        self._membership: Membership | None = None
        self._healthy = False
        self._markers_at = 0.0
        self._positions_at = 0.0
        self._topics_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set, then finishes the batch that it has begun.

        Raises at the start what keeps it from beginning (`DatabaseUnavailable`, `BrokerUnavailable`, `ReadModelOutdated`, …);
        later only what does not pass (`ProjectionFailed`, `DecodeError`, `ReadModelOutdated`, `OffsetLost`, …).
        """
        kafka = self._settings.kafka
        with ExitStack() as opened:
            database = Database(self._settings.postgres, application_name=self._plan.group)
            opened.callback(database.close)
            feed = Feed(self._plan, kafka)
            opened.callback(feed.close)
            membership = Membership(
                kafka.client_config(),
                self._plan.group,
                list(self._plan.aggregates),
                session_timeout_seconds=kafka.session_timeout_seconds,
                monotonic=self._clock.monotonic,
            )
            store, decoder = ProjectionStore(self._plan, database), BatchDecoder(self._plan, self._schemas)
            share = _Share(self._plan, store, feed, decoder)
            share.prepare()
            opened.callback(membership.close)
            opened.callback(self._forget_membership)
            membership.start()
            self._membership = membership
            while not stop.is_set():
                self._turn_until_it_succeeds(stop, membership, share)

    def _forget_membership(self) -> None:
        self._membership = None

    def unassigned_seconds(self) -> float:
        """How long the group has given it no assignment that holds."""
        membership = self._membership
        return 0.0 if membership is None else membership.unassigned_seconds()

    def ready(self) -> bool:
        """Whether it has its partitions, be they none, reads them, and no batch hangs."""
        membership = self._membership
        return (
            membership is not None
            and self._healthy
            and not self._watch.hangs
            and membership.has_assignment()
            and membership.owned().epoch == self._assigned_epoch
        )

    def alive(self) -> bool:
        """Whether no batch hangs for so long that a new process is the only way out."""
        return not self._watch.is_dead

    def _turn_until_it_succeeds(self, stop: threading.Event, membership: Membership, share: _Share) -> None:
        failures = 0
        while not stop.is_set():
            membership.check()
            try:
                self._turn(membership.owned(), share)
            except Retriable as error:
                # Whatever it was: what memory holds of positions may be wrong now. The database knows.
                self._healthy = False
                self._assigned_epoch = -1
                wait_seconds = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(failures, 10))
                failures += 1
                # A position that somebody else moved, or a rebuild, belongs to ordinary work.
                log = _log.info if isinstance(error, PositionConflict | ReadModelRebuilding) else _log.warning
                log(
                    "projection_waits",
                    projection=self._plan.definition.name,
                    reason=str(error),
                    failures=failures,
                    about=about(error),
                )
                stop.wait(wait_seconds)
            else:
                self._healthy = True
                return

    def _turn(self, owned: Owned, share: _Share) -> None:
        now = self._clock.monotonic()
        anew = self._assigned_epoch == -1
        if owned.epoch != self._assigned_epoch or now - self._topics_at >= _TOPIC_CHECK_SECONDS:
            share.find_topics()
            share.take(owned.partitions, anew=anew)
            self._assigned_epoch = owned.epoch
            self._topics_at = self._positions_at = now
        records = share.read(self._settings.worker.projection_batch_size, _READ_SECONDS)
        if records:
            with self._watch.batch():
                share.write(records)
            return
        if now - self._markers_at >= _MARKERS_SECONDS:
            self._markers_at = now
            with self._watch.batch():
                share.pass_markers()
        if now - self._positions_at >= _POSITION_CHECK_SECONDS:
            self._positions_at = now
            share.take(owned.partitions, anew=False)


class _Share:
    """The partitions that are a worker's own, between log and database."""

    def __init__(self, plan: Plan, store: ProjectionStore, feed: Feed, decoder: BatchDecoder) -> None:
        self._plan = plan
        self._store = store
        self._feed = feed
        self._decoder = decoder
        self._topics: list[Topic] = []

    def prepare(self) -> None:
        """Makes what is missing in the database, checks the rest, and logs in what the table differs from the class."""
        self.find_topics()
        for difference in self._store.prepare(self._topics):
            _log.warning("read_model_differs", projection=self._plan.definition.name, difference=difference)

    def find_topics(self) -> None:
        """Asks the broker which topics bear the names now."""
        self._topics = self._feed.topics()

    def take(self, partitions: frozenset[TopicAndPartition], *, anew: bool) -> None:
        """Reads these partitions and no others, each from the position that the database has.

        Unless `anew`, those that are being read from there already go on undisturbed.
        """
        stored = self._store.read_positions(self._topics)
        wanted = {partition: stored[partition] for partition in partitions}
        if anew:
            self._forget(self._feed.positions.keys() - partitions)
            self._feed.assign(wanted)
            self._begin(wanted)
            return
        reading = dict(self._feed.positions)
        # elsewhere than here: given up, or moved by somebody else, such as a rebuild
        gone = {partition for partition, offset in reading.items() if wanted.get(partition) != offset}
        added = {partition: offset for partition, offset in wanted.items() if reading.get(partition) != offset}
        self._feed.remove(gone)
        self._forget(gone)
        self._feed.add(added)
        self._begin(added)

    def _begin(self, positions: Mapping[TopicAndPartition, int]) -> None:
        for partition, offset in positions.items():
            self._decoder.begin(partition, offset)

    def _forget(self, partitions: Collection[TopicAndPartition]) -> None:
        for partition in partitions:
            self._decoder.forget(partition)

    def read(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """The next records."""
        return self._feed.read(max_records, timeout_seconds)

    def write(self, records: Sequence[Record]) -> None:
        """Folds records into the rows, and moves the positions past them, whether they concern the projection or not."""
        self._store_moves(records, self._feed.moves(records))

    def pass_markers(self) -> None:
        """Moves the positions past what is no record, so that a read model that has caught up is seen to have."""
        moves = self._feed.moves_past_markers()
        if moves:
            self._store_moves((), moves)

    def _store_moves(self, records: Sequence[Record], moves: Sequence[Move]) -> None:
        self._store.apply(self._decoder.decode(records), moves)
        self._feed.moved(moves)
