from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime

import pytest
from confluent_kafka import KafkaError, KafkaException

from eventsource import errors
from eventsource.cli import exit_codes
from eventsource.cli.exit_codes import exit_code_of
from eventsource.cli.kafka_errors import explain
from eventsource.domain import Rejected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SettingsError("x"), 2),
        (errors.DefinitionError("x"), 2),
        (errors.NoExactForm("x"), 2),
        (errors.BrokerUnavailable("x"), 3),
        (errors.DatabaseUnavailable("x"), 3),
        (errors.OutcomeUnknown("id", datetime(2026, 1, 1, tzinfo=UTC), 1.0), 7),
        (errors.LoadUnanswered("id", datetime(2026, 1, 1, tzinfo=UTC), 1.0), 3),
        (errors.NotCaughtUp("x"), 3),
        (errors.TopicMissing("x"), 4),
        (errors.TopicMismatch("x"), 4),
        (errors.ClusterMismatch("x"), 4),
        (errors.DatabaseRefused("x"), 4),
        (errors.ReadModelOutdated("x"), 4),
        (errors.NotFound("account", "1"), 4),
        (errors.VersionNotReached("1", 3, 2), 4),
        (errors.InvalidArgument("x"), 2),
        (errors.ForkDetected("x"), 5),
        (errors.OffsetLost("x"), 5),
        (errors.FingerprintConflict("x"), 5),
        (errors.AlreadyExists("account", "1"), 4),
        (errors.VersionConflict("1", 1, 2), 4),
        (errors.Expired("c", 1.0), 4),
        (errors.CommandIdReused("c"), 2),
        (errors.HandlerFailed("c", "KeyError", "x"), 1),
        (errors.InvariantBroken("account", "never negative"), 6),
        (Rejected.from_details("sold_out", {"left": 1}), 6),
        (errors.EmbeddedStackMisused("x"), 2),
        (errors.EmbeddedDownloadFailed("x"), 3),
        (errors.EmbeddedStackError("x"), 1),
        (errors.DrainTimeout(["one"], 1.0), 1),
        (errors.EventSourceError("x"), 1),
        (ZeroDivisionError(), 1),
    ],
)
def test_each_kind_of_error_has_its_code(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code


def test_every_error_that_may_pass_says_try_again() -> None:
    retriable = [
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.Retriable) and cls is not errors.Retriable
    ]
    assert retriable
    codes = {cls: exit_code_of(cls.__new__(cls)) for cls in retriable}
    # Tried again as it stands, a command of unknown outcome would take effect twice.
    assert codes.pop(errors.OutcomeUnknown) == exit_codes.OUTCOME_UNKNOWN
    assert set(codes.values()) == {exit_codes.UNAVAILABLE}


def test_the_documented_codes_are_the_codes() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", exit_codes.__doc__ or "", re.MULTILINE)}
    constants = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert documented == constants


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._INVALID_ARG, errors.SettingsError),
        (KafkaError._TRANSPORT, errors.BrokerUnavailable),
        (KafkaError.TOPIC_EXCEPTION, errors.LogError),
    ],
)
def test_errors_straight_from_librdkafka_become_ours(code: int, kind: type[Exception]) -> None:
    error = KafkaException(KafkaError(code, "because"))
    explained = explain(error)
    assert type(explained) is kind
    assert explained.__cause__ is error


def test_a_wrong_client_setting_is_a_wrong_setting() -> None:
    from confluent_kafka.admin import AdminClient

    with pytest.raises(KafkaException) as caught:
        AdminClient({"bootstrap.servers": "127.0.0.1:1", "sasl.pasword": "hunter2"})
    explained = explain(caught.value)
    assert isinstance(explained, errors.SettingsError)
    assert "sasl.pasword" in str(explained)
    assert "hunter2" not in str(explained)
