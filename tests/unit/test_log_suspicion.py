from __future__ import annotations

import json
import logging

import pytest

from eventsource.log.suspicion import SLOW_END_SECONDS, Suspicion


def statistics(**counters: int) -> str:
    return json.dumps(
        {
            "brokers": {
                "TxnCoordinator/1": {"req_timeouts": 0, "disconnects": 0, **counters},
                "other/2": {"disconnects": 9},
            }
        }
    )


def test_a_healthy_producer_is_not_suspected() -> None:
    suspicion = Suspicion()
    suspicion.statistics(statistics())
    suspicion.statistics(statistics())
    suspicion.end_took(SLOW_END_SECONDS / 2)
    suspicion.logger.log(logging.INFO, "FAIL [rdkafka#producer-1] [thrd:other]: other/2: Disconnected")
    assert suspicion.reason is None


@pytest.mark.parametrize("counter", ["req_timeouts", "disconnects", "txretries"])
def test_a_counter_of_the_coordinators_connection_that_moved_is_a_sign(counter: str) -> None:
    suspicion = Suspicion()
    suspicion.statistics(statistics())
    suspicion.statistics(statistics(**{counter: 1}))
    assert suspicion.reason is not None


def test_a_slow_end_is_a_sign() -> None:
    suspicion = Suspicion()
    suspicion.end_took(SLOW_END_SECONDS * 2)
    assert suspicion.reason is not None


@pytest.mark.parametrize("facility", ["REQTMOUT", "FAIL"])
def test_a_log_line_about_the_coordinator_is_a_sign(facility: str) -> None:
    suspicion = Suspicion()
    suspicion.logger.log(
        logging.WARNING,
        f"{facility} [rdkafka#producer-1] [thrd:TxnCoordinator]: TxnCoordinator/1: 1 request(s) timed out",
    )
    assert suspicion.reason is not None
