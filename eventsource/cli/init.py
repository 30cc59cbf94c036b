"""`eventsource init`: writes a small app that runs as it is."""

from __future__ import annotations

import keyword
import shlex
import shutil
import sys
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated, Final

import typer

from eventsource.cli.options import Json
from eventsource.cli.output import print_json
from eventsource.errors import SettingsError

_FILE_NAME: Final = "shop.py"
_APP: Final = "shop"


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("init")(init)


def init(
    path: Annotated[
        Path, typer.Argument(metavar="[PATH]", help="The file to write, or the folder to write shop.py into.")
    ] = Path(),
    json: Json = False,
) -> None:
    """Write a runnable one-file app: a domain, a read model and a few commands; overwrite nothing."""
    target = path / _FILE_NAME if path.is_dir() or not path.suffix else path
    module = target.stem
    if target.suffix != ".py" or not module.isidentifier() or keyword.iskeyword(module):
        raise SettingsError(
            f"{target} cannot be imported: name the file with letters, digits and underscores, ending in .py"
        )
    text = (files("eventsource.cli") / "templates" / "app.py.txt").read_text(encoding="utf-8")
    reference = f"{module}:{_APP}"
    _write(target, Template(text).substitute(reference=reference, file=target.name))
    steps = _steps(target, reference)
    if json:
        print_json({"file": str(target), "app": reference, "next": steps})
        return
    print(f"wrote {target}\n\nNext, start Kafka, Postgres and the app's workers:\n")
    print("\n".join(f"  {step}" for step in steps[:-1]))
    print(f"\nand in another terminal, in the same folder:\n\n  {steps[-1]}")


def _write(target: Path, text: str) -> None:
    if target.exists():
        raise SettingsError(f"{target} is there already and is not overwritten: give another path, or move it away")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x": not even a file that appeared this very moment is overwritten.
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SettingsError(f"{target} cannot be written ({error.strerror}): give a path that can") from error


def _steps(target: Path, reference: str) -> list[str]:
    """Commands that work in the caller's shell, whether or not its environment is activated."""
    here = Path(sys.executable).parent
    eventsource = "eventsource" if _on_path("eventsource", here) else f"{shlex.quote(sys.executable)} -m eventsource"
    python = "python" if _on_path("python", here) else shlex.quote(sys.executable)
    steps = [f"{eventsource} dev {reference}", f"{python} {shlex.quote(target.name)}"]
    folder = target.parent
    return steps if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}", *steps]


def _on_path(program: str, folder: Path) -> bool:
    found = shutil.which(program)
    return found is not None and Path(found).parent == folder
