"""`eventsource topics plan|apply`: what an app's topics must be, and making them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from eventsource.cli.help import CommandGroup
from eventsource.cli.options import Json, Reference, find_app
from eventsource.cli.output import note, print_json, print_table
from eventsource.errors import TopicMismatch
from eventsource.settings import load_settings

if TYPE_CHECKING:
    from eventsource.app import App
    from eventsource.log.topics import TopicChange


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="The app's topics in Kafka.", cls=CommandGroup, rich_markup_mode=None)
    group.command("plan")(plan_command)
    group.command("apply")(apply_command)
    root.add_typer(group, name="topics")


def plan_command(reference: Reference = None, json: Json = False) -> None:
    """Show what `apply` would do; exit with 4 when a topic is there but not as demanded."""
    from eventsource.log.topics import plan

    app = find_app(reference)
    changes = plan(app, load_settings())
    _print(app, changes, json=json)
    conflicts = [change for change in changes if change.action == "conflict"]
    if conflicts:
        raise TopicMismatch("; ".join(f"{change.topic}: {change.detail}" for change in conflicts))
    wanted = sum(change.action != "none" for change in changes)
    if not json:
        note(f"{wanted} to do: `eventsource topics apply` does it" if wanted else "nothing to do")


def apply_command(reference: Reference = None, json: Json = False) -> None:
    """Make the topics that are missing and record what they are; alter none."""
    from eventsource.log.topics import apply

    app = find_app(reference)
    changes = apply(app, load_settings())
    _print(app, changes, json=json)
    if not json:
        done = sum(change.action != "none" for change in changes)
        note(f"{done} done" if done else "nothing to do")


def _print(app: App, changes: Sequence[TopicChange], *, json: bool) -> None:
    if json:
        print_json({"app": app.name, "topics": changes})
        return
    print_table(
        ("topic", "partitions", "action", "detail"),
        ((change.topic, change.partitions, change.action, change.detail) for change in changes),
    )
