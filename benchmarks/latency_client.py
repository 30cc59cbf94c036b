"""The client of the latency benchmark, in a process of its own: `python -m benchmarks.latency_client`, started by `benchmarks.latency`."""

from __future__ import annotations

import argparse
import gc
import time

from benchmarks.account import bench
from benchmarks.children import end_with_parent, say
from benchmarks.latencies import Latencies
from benchmarks.open_loop import Schedule, send_all
from benchmarks.requesters import Answered, BareRequester, ClientRequester, Requester
from eventsource.settings import load_settings

_LAST_ANSWER_SECONDS = 30.0
_LEAD_SECONDS = 0.2
_ACCOUNTS = 1_000


def _requester(arguments: argparse.Namespace, answered: Answered) -> Requester:
    settings = load_settings()
    if arguments.replies is None:
        return ClientRequester(bench, settings, answered)
    return BareRequester(
        settings,
        commands=arguments.commands,
        replies=arguments.replies,
        committed_only=arguments.committed_only,
        answered=answered,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Sends commands at a steady rate and tells how long each took.")
    parser.add_argument("--rate", type=float, required=True, help="commands per second")
    parser.add_argument("--seconds", type=float, required=True, help="how long it counts")
    parser.add_argument("--warm-up-seconds", type=float, default=2.0, help="how long it sends before it counts")
    parser.add_argument("--accounts", default="acc", help="what the ids of its accounts begin with")
    parser.add_argument("--commands", help="the topic of requests, for a bare client")
    parser.add_argument("--replies", help="the topic of replies, for a bare client")
    parser.add_argument("--committed-only", action="store_true", help="a bare client reads committed replies only")
    arguments = parser.parse_args()
    end_with_parent()
    warm_up = int(arguments.rate * arguments.warm_up_seconds)
    count = warm_up + int(arguments.rate * arguments.seconds)
    latencies = Latencies(count)
    requester = _requester(arguments, latencies.answered)
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)

    def send(number: int, due: float) -> None:
        latencies.sent(number, due)
        requester.send(number, f"{arguments.accounts}-{number % _ACCOUNTS}", opens=number < _ACCOUNTS)

    send_all(Schedule(time.monotonic() + _LEAD_SECONDS, arguments.rate, count), send)
    missing = latencies.wait(_LAST_ANSWER_SECONDS)
    requester.close()
    say("measured", missing=missing, milliseconds=latencies.milliseconds(warm_up))


if __name__ == "__main__":
    main()
