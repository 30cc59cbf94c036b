"""`eventsource dev --rebuild`: between topics and workers, consumers make again what is not as their classes ask for."""

from __future__ import annotations

import typer

from eventsource.cli.options import Reference, find_app
from eventsource.cli.output import note
from eventsource.consuming.definition import Rebuildable
from eventsource.settings import load_settings

VERB = "dev-rebuild"


def register(root: typer.Typer) -> None:
    """Adds the command, which `dev` runs as a process of its own: only a new one sees a changed file."""
    root.command(VERB, hidden=True)(rebuild)


def rebuild(reference: Reference = None) -> None:
    """Rebuild every read model that its class asks to be made differently. No worker may run."""
    app, settings = find_app(reference), load_settings()
    for name, consumer in app.consumers.items():
        if isinstance(consumer, Rebuildable):
            done = consumer.rebuild_if_changed(app, settings)
            note(done if done is not None else f"{name} is as its class asks for")
