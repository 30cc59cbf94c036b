"""The command side of a worker process: one aggregate's membership and the owners of the partitions it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final

import structlog

from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.hang_watch import DEAD_AFTER_SECONDS, HANGS_AFTER_SECONDS
from eventsource.commands.memory_budget import MemoryBudget
from eventsource.commands.owner import PartitionOwner
from eventsource.commands.owner_parts import OwnerParts
from eventsource.commands.owner_state import OwnerState
from eventsource.commands.partition_failures import PartitionFailures
from eventsource.commands.replies import ReplySender
from eventsource.commands.take_overs import TakeOvers
from eventsource.commands.turns import Turns
from eventsource.consuming.definition import ConsumerContext
from eventsource.domain import Aggregate
from eventsource.errors import ClusterMismatch, DefinitionError, TopicMismatch, TopicMissing
from eventsource.log.admin import LogAdmin, TopicAndPartition
from eventsource.log.identity import TopicIdentities
from eventsource.log.membership import Membership
from eventsource.schemas import SchemaStore, StateCodec

_log = structlog.get_logger("eventsource.worker")
_TURN_SECONDS: Final = 0.2
# What concerns the topics as a whole, not one partition of them.
_OF_ALL_PARTITIONS: Final = (TopicMismatch, TopicMissing, ClusterMismatch)


class CommandWorker:
    """Handles the commands of one aggregate, for as many partitions as the group gives it.

    A partition whose owner fails is stopped alone and taken over again after a while, unless the log is damaged
    (`eventsource/failure.py`); what concerns all partitions ends `run`, and so does every failure where the context says `fail_fast`.
    """

    def __init__(
        self,
        aggregate: type[Aggregate[Any]],
        context: ConsumerContext,
        budget: MemoryBudget | None = None,
        turns: Turns | None = None,
        identities: TopicIdentities | None = None,
        take_overs: TakeOvers | None = None,
        failures: PartitionFailures | None = None,
    ) -> None:
        """`budget` and what follows are the process's, shared by all its aggregates; without them, this one has its own. `failures` are
        this aggregate's, and outlive a runner that is started again.
        """
        self._aggregate = aggregate
        self._budget = budget or MemoryBudget(context.settings.worker.state_memory_mb << 20)
        self._turns = turns or Turns(context.clock.monotonic)
        self._identities = identities or TopicIdentities()
        self._take_overs = take_overs or TakeOvers(context.clock.monotonic)
        self._failures = failures or PartitionFailures(aggregate.__definition__.name)
        self._context = context
        self._owners: dict[TopicAndPartition, PartitionOwner] = {}
        self._lock = threading.Lock()
        self._membership: Membership | None = None

    def ready(self) -> bool:
        """Whether the group has given its assignment and every partition that it gave us is being handled, none held up by one command."""
        membership = self._membership
        if membership is None or not membership.has_assignment():
            return False
        with self._lock:
            owners = dict(self._owners)
        return set(owners) == membership.owned().partitions and all(
            owner.state is OwnerState.HANDLING and owner.hangs_seconds < HANGS_AFTER_SECONDS
            for owner in owners.values()
        )

    def alive(self) -> bool:
        """Whether no command hangs for so long that a new process is the only way out."""
        with self._lock:
            return all(owner.hangs_seconds < DEAD_AFTER_SECONDS for owner in self._owners.values())

    def unassigned_seconds(self) -> float:
        """How long the group has given it no assignment that holds."""
        membership = self._membership
        return 0.0 if membership is None else membership.unassigned_seconds()

    def failures(self) -> Mapping[int, str]:
        """The partitions that an error stopped, each with the class of that error."""
        return self._failures.shown()

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set, then ends every transaction and leaves the group. Raises what concerns all partitions."""
        app, settings, schemas = self._context.app, self._context.settings, self._context.schemas
        kafka = settings.kafka
        names = app.names(settings.namespace)
        name = self._aggregate.__definition__.name
        topic = names.commands(name)
        with ExitStack() as opened:
            admin = LogAdmin(kafka.client_config(), request_timeout_seconds=kafka.request_timeout_seconds)
            opened.callback(admin.close)
            topic_ids = admin.topic_ids([topic, names.events(name), names.outcomes(name)])
            for needed in (topic, names.events(name), names.outcomes(name)):
                if needed not in topic_ids:
                    raise TopicMissing(f"topic {needed} is missing: make it with `eventsource topics apply MODULE:APP`")
            self._identities.check(topic_ids)
            replies = ReplySender(kafka.client_config(), names.replies)
            opened.callback(replies.close)
            opened.callback(self._failures.close)
            membership = Membership(
                kafka.client_config(),
                names.owners(name),
                [topic],
                on_revoked=self._stop_owners,
                on_lost=self._lose_owners,
                session_timeout_seconds=kafka.session_timeout_seconds,
                revocation_seconds=kafka.transaction_timeout_seconds,
                monotonic=self._context.clock.monotonic,
            )
            parts = OwnerParts(
                app=app,
                aggregate=self._aggregate,
                settings=settings,
                codecs=AggregateCodecs(self._aggregate, schemas, _state_codec(self._aggregate, schemas)),
                clock=self._context.clock,
                admin=admin,
                membership=membership,
                replies=replies,
                topic_ids=topic_ids,
                identities=self._identities,
                budget=self._budget,
                turns=self._turns,
                take_overs=self._take_overs,
                on_step=self._context.on_step,
            )
            opened.callback(membership.close)
            opened.callback(lambda: self._stop_owners(frozenset(self._owners)))
            self._membership = membership
            opened.callback(self._forget_membership)
            membership.start()
            self._work(parts, membership, stop)

    def _forget_membership(self) -> None:
        self._membership = None

    def _work(self, parts: OwnerParts, membership: Membership, stop: threading.Event) -> None:
        epoch = -1
        while not stop.is_set():
            owned = membership.wait(epoch, _TURN_SECONDS)
            epoch = owned.epoch
            membership.check()
            self._failures.keep({partition for _, partition in owned.partitions})
            self._start_owners(parts, membership)
            self._look_after_owners()
            self._take_overs.report()
        self._take_overs.report(at_once=True)

    def _start_owners(self, parts: OwnerParts, membership: Membership) -> None:
        with self._lock:
            # Asked under the lock: a revocation is published before `_revoked` waits for this lock, so no owner is ever
            # started for a partition that was given up in between.
            now = self._context.clock.monotonic()
            for partition in sorted(membership.owned().partitions - set(self._owners)):
                if not self._failures.may_start(partition[1], now):
                    continue
                owner = PartitionOwner(parts, partition[1])
                self._owners[partition] = owner
                owner.start()

    def _look_after_owners(self) -> None:
        now = self._context.clock.monotonic()
        for where, owner in list(self._owners.items()):
            owner.look()
            failure = owner.failure
            if failure is None:
                self._failures.note(owner.partition, handling=owner.state is OwnerState.HANDLING, now=now)
            elif self._context.fail_fast or isinstance(failure, _OF_ALL_PARTITIONS):
                raise failure
            else:
                with self._lock:
                    self._owners.pop(where, None)  # or else it was given up meanwhile
                self._failures.add(owner.partition, failure, now)

    def _stop_owners(self, partitions: frozenset[TopicAndPartition]) -> None:
        # In the membership's thread, before the partitions are given up: the next owner waits for our transactions to end.
        self._end_owners(partitions, PartitionOwner.stop)

    def _lose_owners(self, partitions: frozenset[TopicAndPartition]) -> None:
        self._end_owners(partitions, PartitionOwner.lose)

    def _end_owners(self, partitions: frozenset[TopicAndPartition], tell: Callable[[PartitionOwner], None]) -> None:
        with self._lock:
            gone = [self._owners.pop(partition) for partition in sorted(partitions) if partition in self._owners]
        for owner in gone:
            tell(owner)
        deadline = self._context.clock.monotonic() + self._context.settings.kafka.transaction_timeout_seconds
        for owner in gone:
            if not owner.join(max(0.0, deadline - self._context.clock.monotonic())):
                # Its transaction hangs at the broker. Whoever owns the partition next fences it.
                _log.warning("owner_did_not_end", partition=owner.partition, state=owner.state)


def _state_codec(aggregate: type[Aggregate[Any]], schemas: SchemaStore) -> StateCodec[Any] | None:
    """What writes the aggregate's state, or None where that cannot be done exactly: all of them then stay in memory."""
    try:
        return StateCodec(aggregate, schemas)
    except DefinitionError as error:
        # A property of the class, as it says at each start.
        _log.info("state_not_storable", aggregate=aggregate.__definition__.name, reason=str(error))
        return None
