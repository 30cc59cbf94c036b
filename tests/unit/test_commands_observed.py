"""A client's requests as traces and metrics show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from eventsource.commands.observed import NOT_SENT, UNANSWERED, ObservedRequest
from eventsource.commands.pending import Pending
from eventsource.commands.receipt import Receipt
from eventsource.commands.reply import Reply
from eventsource.commands.status import Status
from eventsource.errors import Backlogged
from eventsource.log.token import Token
from eventsource.telemetry import SEND_SECONDS, ClientTelemetry
from eventsource.testing import VirtualClock

SENT_AT = datetime(2026, 1, 1, tzinfo=UTC)
RECEIPT = Receipt("c-1", "acc-1", 3, Token(bytes(16), 0, 5, "acc-1", 3))


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    monkeypatch.setattr(metrics, "get_meter", MeterProvider([reader]).get_meter)
    return reader


def reply(status: Status) -> Reply:
    return Reply("c-1", status, 0, 5, 3)


def durations(reader: InMemoryMetricReader) -> list[tuple[Any, float]]:
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == SEND_SECONDS
    points: list[Any] = list(metric.data.data_points)
    return [(dict(point.attributes), point.sum) for point in points]


@pytest.mark.parametrize(
    ("status", "outcome", "failed"),
    [
        (Status.ACCEPTED, "accepted", False),
        (Status.VERSION_CONFLICT, "version_conflict", False),
        (Status.FAILED, "failed", True),
    ],
)
def test_a_span_and_a_duration_from_sending_to_the_answer(
    spans: InMemorySpanExporter, reader: InMemoryMetricReader, status: Status, outcome: str, failed: bool
) -> None:
    clock = VirtualClock(SENT_AT)
    pending: Pending = Pending("c-1", "acc-1", SENT_AT)
    observed = ObservedRequest(ClientTelemetry(), clock, "account", lambda _: pending.resolve(RECEIPT))
    traceparent = observed.begin(pending, "deposit")
    assert spans.get_finished_spans() == ()
    clock.advance(timedelta(seconds=2))
    observed(reply(status))
    (span,) = spans.get_finished_spans()
    assert (span.name, span.attributes["eventsource.outcome"]) == ("send deposit", outcome)  # type: ignore[index]
    assert (span.status.status_code is StatusCode.ERROR) == failed
    assert traceparent is not None
    assert f"{span.context.span_id:016x}" in traceparent.decode()
    assert durations(reader) == [({"aggregate": "account", "outcome": outcome}, 2.0)]


@pytest.mark.parametrize("outcome", [UNANSWERED, NOT_SENT])
def test_what_gets_no_answer_ends_its_span_as_an_error(spans: InMemorySpanExporter, outcome: str) -> None:
    pending: Pending = Pending("c-1", "acc-1", SENT_AT)
    observed = ObservedRequest(ClientTelemetry(), VirtualClock(SENT_AT), "account", lambda _: None)
    observed.begin(pending, "deposit")
    observed.outcome = outcome
    pending.resolve(None, Backlogged(3))
    (span,) = spans.get_finished_spans()
    assert span.attributes["eventsource.outcome"] == outcome  # type: ignore[index]
    assert span.status.status_code is StatusCode.ERROR


def test_without_an_sdk_nothing_travels_along() -> None:
    pending: Pending = Pending("c-1", "acc-1", SENT_AT)
    observed = ObservedRequest(ClientTelemetry(), VirtualClock(SENT_AT), "account", lambda _: pending.resolve(RECEIPT))
    assert observed.begin(pending, "deposit") is None
    observed(reply(Status.ACCEPTED))
    assert pending.result() == RECEIPT
