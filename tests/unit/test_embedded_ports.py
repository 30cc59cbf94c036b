"""Which ports a stack gets."""

from __future__ import annotations

import random

import pytest

from eventsource.embedded.ports import choose_port
from eventsource.errors import EmbeddedStackError


def test_the_first_free_wish_is_taken() -> None:
    taken: set[int] = set()
    assert choose_port([9092, 9192], taken=taken, free=lambda port: port == 9192) == 9192
    assert taken == {9192}


def test_a_port_given_to_another_server_of_the_stack_is_not_given_twice() -> None:
    taken = {9092}
    assert choose_port([9092, 9093], taken=taken, free=lambda port: True) == 9093


def test_no_wish_is_met_by_a_free_port_below_those_of_outgoing_connections() -> None:
    port = choose_port([0], taken=set(), free=lambda port: True, rng=random.Random(7))
    assert 20000 <= port < 32768


def test_a_wish_beyond_the_last_port_is_passed_over() -> None:
    port = choose_port([65536], taken=set(), free=lambda port: True, rng=random.Random(7))
    assert port < 32768


def test_a_machine_without_a_free_port_is_told_so() -> None:
    with pytest.raises(EmbeddedStackError, match="no free TCP port"):
        choose_port([9092], taken=set(), free=lambda port: False, rng=random.Random(7))
