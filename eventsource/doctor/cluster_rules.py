"""Rules about the cluster: replicas, elections, and the brokers' own settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from eventsource.doctor.answer import Unanswered
from eventsource.doctor.facts import INTERNAL_TOPICS, Facts
from eventsource.doctor.finding import Problem, Severity
from eventsource.doctor.rule import Depth, Rule
from eventsource.errors import BrokerUnavailable, ClusterMismatch
from eventsource.log.topics import TopicState

SAFE_REPLICAS: Final = 3
SAFE_IN_SYNC: Final = 2
SAFE_OFFSETS_RETENTION_MINUTES: Final = 30 * 24 * 60
_ON_ONE: Final = "nothing to mend where data may be lost, as in development; production needs three brokers"
_REASSIGN: Final = "give them three with kafka-reassign-partitions (`--execute` with a plan that names three brokers for each partition)"


def _brokers(facts: Facts) -> Iterator[Problem]:
    facts.brokers.get()
    return iter(())


def _setting(facts: Facts, name: str) -> dict[str, str]:
    """The values of a setting, by the brokers that have it: `broker 1`, or `brokers 1, 2`.

    Raises `Unanswered` where no broker answered, or one does not tell the setting. That only some did not answer is a rule of
    its own: a worker must be able to start while a broker is away.
    """
    errors = [answer.error for answer in facts.broker_settings.values() if answer.error is not None]
    known = {broker: answer.get() for broker, answer in facts.broker_settings.items() if answer.error is None}
    if not known:
        raise Unanswered(errors[0] if errors else BrokerUnavailable("no broker was asked: check that Kafka runs"))
    for broker, settings in known.items():
        if settings.get(name) is None:
            raise Unanswered(
                ClusterMismatch(f"broker {broker} does not tell its {name}: look it up where the cluster is managed")
            )
    values = {broker: settings[name] for broker, settings in known.items()}
    found: dict[str, str] = {}
    for value in dict.fromkeys(values.values()):
        brokers = [str(broker) for broker, each in values.items() if each == value]
        found[f"broker{'s' * (len(brokers) > 1)} {', '.join(brokers)}"] = value
    return found


def _replication_factor(facts: Facts) -> Iterator[Problem]:
    few = {name: state.replicas for name, state in _durable(facts).items() if state.replicas < SAFE_REPLICAS}
    for replicas, names in _grouped(few):
        yield Problem(
            names[0],
            f"{', '.join(names)}: {_count(replicas, 'replica')} each, {SAFE_REPLICAS} are demanded in production: acknowledged records "
            "are lost with one broker's disk",
            _REASSIGN if facts.production else _ON_ONE,
        )


def _min_in_sync(facts: Facts) -> Iterator[Problem]:
    few = {
        name: number
        for name, state in _durable(facts).items()
        if (number := int(state.config.get("min.insync.replicas", "1"))) < SAFE_IN_SYNC
    }
    for number, names in _grouped(few):
        yield Problem(
            names[0],
            f"{', '.join(names)}: min.insync.replicas={number}, {SAFE_IN_SYNC} are demanded in production: a commit may be acknowledged "
            "that only one broker holds",
            _mend_in_sync(facts, names) if facts.production else _ON_ONE,
        )


def _mend_in_sync(facts: Facts, names: Iterable[str]) -> str:
    return (
        f"once they have three replicas: `for topic in {' '.join(names)}; do kafka-configs --bootstrap-server {facts.bootstrap} --alter "
        f"--entity-type topics --entity-name $topic --add-config min.insync.replicas={SAFE_IN_SYNC}; done`"
    )


def _durable(facts: Facts) -> Mapping[str, TopicState]:
    """The app's topics that must lose nothing: those of which something is demanded."""
    states = facts.topics.get()
    return {spec.name: states[spec.name] for spec in facts.specs if spec.demanded and spec.name in states}


def _grouped(figures: Mapping[str, int]) -> list[tuple[int, list[str]]]:
    return [
        (figure, [name for name, each in figures.items() if each == figure]) for figure in sorted(set(figures.values()))
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _internal(facts: Facts) -> Iterator[Problem]:
    states = facts.internal.get()
    for name in INTERNAL_TOPICS:
        replicas, in_sync, unclean = _of_internal(states[name]) if name in states else _to_be_internal(facts, name)
        wrong = []
        if replicas < SAFE_REPLICAS:
            wrong.append(f"{_count(replicas, 'replica')} where {SAFE_REPLICAS} are demanded")
        if in_sync < SAFE_IN_SYNC:
            wrong.append(f"min.insync.replicas={in_sync} where {SAFE_IN_SYNC} are demanded")
        if unclean:
            wrong.append("unclean.leader.election.enable=true")
        if wrong:
            yield Problem(
                name,
                f"{name} {'has' if name in states else 'will be made with'} {' and '.join(wrong)}: offsets and transactions that were "
                "committed are forgotten with one broker's disk",
                _mend_internal(facts, name, there=name in states) if facts.production else _ON_ONE,
            )


def _of_internal(state: TopicState) -> tuple[int, int, bool]:
    return (
        state.replicas,
        int(state.config.get("min.insync.replicas", "1")),
        state.config.get("unclean.leader.election.enable") != "false",
    )


def _to_be_internal(facts: Facts, name: str) -> tuple[int, int, bool]:
    """The same for a topic that the brokers make when it is first needed: worst of all brokers."""
    prefix = "offsets.topic" if name == "__consumer_offsets" else "transaction.state.log"
    in_sync = "min.insync.replicas" if name == "__consumer_offsets" else "transaction.state.log.min.isr"
    return (
        min(map(int, _setting(facts, f"{prefix}.replication.factor").values())),
        min(map(int, _setting(facts, in_sync).values())),
        "true" in _setting(facts, "unclean.leader.election.enable").values(),
    )


def _mend_internal(facts: Facts, name: str, *, there: bool) -> str:
    if there:
        return f"{_REASSIGN}; {_mend_in_sync(facts, [name])}"
    prefix = "offsets.topic" if name == "__consumer_offsets" else "transaction.state.log"
    return (
        f"before anybody uses the cluster, set {prefix}.replication.factor={SAFE_REPLICAS} and "
        f"{'min.insync.replicas' if name == '__consumer_offsets' else 'transaction.state.log.min.isr'}={SAFE_IN_SYNC} in "
        "server.properties of every broker"
    )


def _auto_creation(facts: Facts) -> Iterator[Problem]:
    for brokers, value in _setting(facts, "auto.create.topics.enable").items():
        if value != "false":
            yield Problem(
                brokers,
                f"{brokers}: auto.create.topics.enable={value}: a name that is asked for becomes a topic with the wrong partitions "
                "and retention",
                "set auto.create.topics.enable=false in server.properties of every broker, and restart them one by one",
            )


def _offsets_retention(facts: Facts) -> Iterator[Problem]:
    for brokers, value in _setting(facts, "offsets.retention.minutes").items():
        if int(value) < SAFE_OFFSETS_RETENTION_MINUTES:
            yield Problem(
                brokers,
                f"{brokers}: offsets.retention.minutes={value}: owners that are stopped for longer than "
                f"{int(value) / 1_440:g} days lose their committed offsets, and refuse to work without them",
                "set offsets.retention.minutes=525600 (a year) in server.properties of every broker, and restart them one by one",
            )


def _transaction_timeout(facts: Facts) -> Iterator[Problem]:
    ours = int(facts.settings.kafka.transaction_timeout_seconds * 1_000)
    for brokers, value in _setting(facts, "transaction.max.timeout.ms").items():
        if ours > int(value):
            yield Problem(
                brokers,
                f"{brokers}: transaction.max.timeout.ms={value}, and workers ask for {ours}: none of them can take a partition over",
                f"set EVENTSOURCE_KAFKA__TRANSACTION_TIMEOUT_SECONDS to {int(value) / 1_000:g} or less",
            )


def _session_timeout(facts: Facts) -> Iterator[Problem]:
    client = facts.settings.kafka.client
    if client.get("group.protocol", "classic") != "classic":
        return  # the brokers decide there
    ours = int(client.get("session.timeout.ms", facts.settings.kafka.session_timeout_seconds * 1_000))
    limits: tuple[tuple[str, Callable[[int], bool]], ...] = (
        ("group.min.session.timeout.ms", lambda limit: ours < limit),
        ("group.max.session.timeout.ms", lambda limit: ours > limit),
    )
    for name, breaks in limits:
        for brokers, value in _setting(facts, name).items():
            if breaks(int(value)):
                yield Problem(
                    brokers,
                    f"{brokers}: {name}={value}, and workers ask for {ours}: none of them can join its group",
                    f"set EVENTSOURCE_KAFKA__CLIENT__SESSION_TIMEOUT_MS={value}"
                    if "session.timeout.ms" in client
                    else f"set EVENTSOURCE_KAFKA__SESSION_TIMEOUT_SECONDS={int(value) / 1_000:g}",
                )


def _every_broker(facts: Facts) -> Iterator[Problem]:
    for broker, answer in facts.broker_settings.items():
        if answer.error is not None:
            yield Problem(
                f"broker {broker}",
                f"broker {broker} did not tell its settings, so none of them could be checked",
                str(answer.error),
            )


CLUSTER_RULES: Final = (
    Rule("brokers-reachable", Severity.DANGER, "the brokers answer", BrokerUnavailable, _brokers, Depth.EXAMINATION),
    Rule(
        "brokers-answer",
        Severity.DANGER,
        "every broker tells its settings",
        BrokerUnavailable,
        _every_broker,
        Depth.EXAMINATION,
    ),
    Rule(
        "replication-factor",
        Severity.DANGER,
        "topics have three replicas in production",
        ClusterMismatch,
        _replication_factor,
        production_only=True,
    ),
    Rule(
        "min-insync-replicas",
        Severity.DANGER,
        "two replicas hold what is acknowledged in production",
        ClusterMismatch,
        _min_in_sync,
        production_only=True,
    ),
    Rule(
        "internal-topics",
        Severity.DANGER,
        "the brokers' own topics for offsets and transactions are as safe as the app's",
        ClusterMismatch,
        _internal,
        for_owners=True,
        production_only=True,
    ),
    Rule(
        "auto-topic-creation",
        Severity.DANGER,
        "brokers make no topic by themselves",
        ClusterMismatch,
        _auto_creation,
        for_owners=True,
        production_only=True,
    ),
    Rule(
        "transaction-timeout",
        Severity.DANGER,
        "brokers allow the workers' transaction time-out",
        ClusterMismatch,
        _transaction_timeout,
        for_owners=True,
    ),
    Rule(
        "session-timeout",
        Severity.DANGER,
        "brokers allow the workers' session time-out",
        ClusterMismatch,
        _session_timeout,
        for_owners=True,
    ),
    Rule(
        "offsets-retention",
        Severity.WARNING,
        "brokers keep the offsets of a stopped group for 30 days at least",
        ClusterMismatch,
        _offsets_retention,
        for_owners=True,
    ),
)
