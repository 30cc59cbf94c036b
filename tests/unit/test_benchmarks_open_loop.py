"""Open-loop load: a stall must show in every request that was due during it."""

from __future__ import annotations

from benchmarks.latencies import Latencies
from benchmarks.open_loop import Schedule, send_all


class Time:
    """A clock that only sleeping and stalling move."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def test_requests_leave_when_they_are_due() -> None:
    time, left = Time(), []
    schedule = Schedule(start_seconds=101.0, per_second=10.0, count=4)
    send_all(
        schedule, lambda number, due: left.append((number, due, time.now)), monotonic=time.monotonic, sleep=time.sleep
    )
    assert [number for number, _, _ in left] == [0, 1, 2, 3]
    assert [round(due, 6) for _, due, _ in left] == [101.0, 101.1, 101.2, 101.3]
    assert all(abs(now - due) < 1e-9 for _, due, now in left)


def test_a_stall_neither_moves_nor_drops_what_is_due_during_it() -> None:
    time, left = Time(), []

    def send(number: int, due: float) -> None:
        left.append((number, due, time.now))
        if number == 2:
            time.now += 0.55  # the system under test does not take it

    send_all(Schedule(100.0, 10.0, 10), send, monotonic=time.monotonic, sleep=time.sleep)
    assert [number for number, _, _ in left] == list(range(10))
    assert [round(due - 100.0, 6) for _, due, _ in left] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    late = [round(now - due, 6) for _, due, now in left]
    assert late == [0.0, 0.0, 0.0, 0.45, 0.35, 0.25, 0.15, 0.05, 0.0, 0.0]


def test_due_times_do_not_drift() -> None:
    schedule = Schedule(0.0, 3.0, 3_000_000)
    assert schedule.due(2_999_999) == 2_999_999 / 3.0


def test_a_latency_counts_from_the_moment_at_which_its_request_was_due() -> None:
    latencies = Latencies(3)
    for number, due in enumerate((10.0, 10.1, 10.2)):
        latencies.sent(number, due)
    latencies.answered(0, 10.005)
    latencies.answered(2, 11.2)
    latencies.answered(1, 11.1)
    assert latencies.wait(0.0) == 0
    assert latencies.milliseconds(0) == [5.0, 1_000.0, 1_000.0]
    assert latencies.milliseconds(1) == [1_000.0, 1_000.0]


def test_an_unanswered_request_is_told() -> None:
    latencies = Latencies(2)
    latencies.sent(0, 1.0)
    latencies.sent(1, 2.0)
    latencies.answered(0, 1.5)
    assert latencies.wait(0.0) == 1
