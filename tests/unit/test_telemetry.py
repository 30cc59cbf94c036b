"""What an owner tells: spans that tie a command to what it led to, and metrics whose names are in one place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from eventsource import telemetry
from eventsource.app import App
from eventsource.commands.aggregate_codecs import AggregateCodecs
from eventsource.commands.handled import Handled
from eventsource.commands.handling import CommandHandling
from eventsource.domain import Aggregate, Command, Event, applies, creates
from eventsource.log.headers import CommandHeaders, Trail, command_headers
from eventsource.log.record import Record
from eventsource.schemas import MemorySchemaStore, MessageCodec

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Open(Command, name="open"):
    owner: str


class Opened(Event, name="opened"):
    owner: str


class Account(Aggregate, name="account"):
    owner: str

    @creates
    @classmethod
    def open(cls, command: Open) -> Opened:
        return Opened(owner=command.owner)

    @creates
    @classmethod
    def on_opened(cls, event: Opened) -> Self:
        return cls(owner=event.owner)

    @applies
    def on_opened_again(self, event: Opened) -> None:
        self.owner = event.owner


APP = App("bank", aggregates=[Account], partitions=1)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(metrics, "get_meter", provider.get_meter)
    yield reader
    provider.shutdown()


class Partition:
    def __init__(self) -> None:
        self.schemas = MemorySchemaStore()
        self.handling = CommandHandling(
            APP,
            Account,
            0,
            names=APP.names(),
            commands_topic_id=b"t" * 16,
            codecs=AggregateCodecs(Account, self.schemas),
            window_ms=None,
            max_event_bytes=900_000,
        )

    def command(self, offset: int, traceparent: bytes | None) -> Record:
        headers = CommandHeaders(
            f"c-{offset}", "open", "/t", 0, None, 0, b"c" * 16, Trail("corr-1", "cause-1"), traceparent
        )
        value = MessageCodec(Open, "open", self.schemas).encode(Open(owner="Ada"))
        return Record("c", 0, offset, 1_700_000_000_000, b"acc-1", value, command_headers(headers))

    def handle(self, *batch: Record) -> Handled:
        return self.handling.handle(batch)


def header(handled: Handled, name: str) -> list[bytes | None]:
    return [dict(record.headers).get(name) for record in handled.records]


def test_a_traced_commands_span_is_its_clients_child_and_its_events_carry_it_on(spans: InMemorySpanExporter) -> None:
    partition = Partition()
    handled = partition.handle(partition.command(0, PARENT))
    assert spans.get_finished_spans() == ()
    partition.handling.commit(handled, [0])
    (span,) = spans.get_finished_spans()
    assert span.context is not None
    assert span.parent is not None
    assert (span.name, f"{span.parent.span_id:x}") == ("handle open", "b7ad6b7169203331")
    attributes = dict(span.attributes or {})
    assert attributes["eventsource.command_id"] == "c-0"
    assert attributes["eventsource.correlation_id"] == "corr-1"
    assert attributes["eventsource.causation_id"] == "cause-1"
    assert attributes["eventsource.outcome"] == "accepted"
    assert header(handled, "traceparent") == [
        f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01".encode()
    ]


def test_an_aborted_batch_ends_its_spans_with_an_error(spans: InMemorySpanExporter) -> None:
    partition = Partition()
    partition.handle(partition.command(0, PARENT))
    partition.handling.rollback()
    (span,) = spans.get_finished_spans()
    assert not span.status.is_ok


def test_a_command_that_is_not_traced_costs_no_span_and_no_header(spans: InMemorySpanExporter) -> None:
    partition = Partition()
    handled = partition.handle(partition.command(0, None))
    partition.handling.commit(handled, [0])
    assert spans.get_finished_spans() == ()
    assert header(handled, "traceparent") == [None]


def test_a_header_that_is_no_traceparent_hurts_nobody(spans: InMemorySpanExporter) -> None:
    partition = Partition()
    handled = partition.handle(partition.command(0, b"\xff nonsense"))
    partition.handling.commit(handled, [0])
    assert len(spans.get_finished_spans()) == 1


def test_without_an_sdk_a_trace_is_passed_on_as_it_came() -> None:
    partition = Partition()
    assert header(partition.handle(partition.command(0, PARENT)), "traceparent") == [PARENT]


def measured(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    assert data is not None
    found = [
        metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]
    return {metric.name: list(metric.data.data_points) for metric in found}


def test_a_batch_is_measured_by_outcome_size_and_seconds(reader: InMemoryMetricReader) -> None:
    owner = telemetry.OwnerMetrics("account", 3)
    owner.committed({"accepted": 5, "rejected": 2}, 7, 4, 0.25, 0.5)
    points = measured(reader)
    by_outcome = {point.attributes["outcome"]: point.value for point in points[telemetry.COMMANDS]}
    assert by_outcome == {"accepted": 5, "rejected": 2}
    assert points[telemetry.BATCH_COMMANDS][0].sum == 7
    assert points[telemetry.HANDLE_SECONDS][0].sum == 0.25
    assert points[telemetry.COMMIT_SECONDS][0].sum == 0.5
    assert points[telemetry.HOTTEST_SHARE][0].sum == pytest.approx(4 / 7)
    assert dict(points[telemetry.COMMIT_SECONDS][0].attributes) == {"aggregate": "account", "partition": 3}


def test_every_other_measure_has_its_name(reader: InMemoryMetricReader) -> None:
    owner = telemetry.OwnerMetrics("account", 3)
    owner.returned(ValueError("x"))
    owner.fenced()
    owner.renewed()
    owner.replayed(10)
    owner.taken_over(1.5)
    owner.looked_up(2, 3)
    owner.checkpointed(0.1)
    telemetry.ReplyMetrics().dropped("_UNKNOWN_PARTITION", 3)
    telemetry.ClientTelemetry().answered(trace.INVALID_SPAN, "account", "accepted", 0.01, failed=False)
    runner, partitions = telemetry.RunnerMetrics("projection/balances"), telemetry.PartitionFailureMetrics("account")
    runner.failure(ValueError())
    runner.failed(1)
    partitions.failure(3, ValueError())
    partitions.failed(3, 1)
    names = {
        value for name, value in vars(telemetry).items() if name.isupper() and str(value).startswith("eventsource.")
    }
    assert (
        set(measured(reader))
        | {
            telemetry.COMMANDS,
            telemetry.BATCH_COMMANDS,
            telemetry.HANDLE_SECONDS,
            telemetry.COMMIT_SECONDS,
            telemetry.HOTTEST_SHARE,
        }
        == names
    )


def test_outcomes_are_counted_with_repetitions_and_loads() -> None:
    partition = Partition()
    handled = partition.handle(partition.command(0, None), partition.command(0, None), partition.command(1, None))
    assert handled.outcomes(3) == {"accepted": 1, "already_exists": 1, "repeated": 1}
