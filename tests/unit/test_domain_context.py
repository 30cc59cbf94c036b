"""The context of a decision."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest

from eventsource.domain import Context


def test_a_context_cannot_be_changed() -> None:
    context = Context(id="a", version=0, time=datetime(2000, 1, 1, tzinfo=UTC), command_id="c", correlation_id="c")
    assert (context.actor, dict(context.metadata)) == (None, {})
    with pytest.raises(FrozenInstanceError):
        context.version = 1
    with pytest.raises(TypeError):
        context.metadata["tenant"] = "a"
