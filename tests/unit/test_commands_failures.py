from __future__ import annotations

from eventsource.commands.failures import place_of


def fail() -> None:
    raise RuntimeError("a bug of the domain")


def test_the_place_of_an_error_is_where_it_was_raised() -> None:
    try:
        fail()
    except RuntimeError as error:
        told = place_of(error)
    assert told.endswith("in fail")
    assert f"{__file__}:" in told


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert place_of(RuntimeError()) == ""
