"""Finds the app that a command is about: MODULE:APP from the command line, the environment or pyproject.toml."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from eventsource.app import App
from eventsource.cli.shadowing import SHARED_NAMES, find_shadows
from eventsource.errors import EventSourceError, SettingsError

APP_VARIABLE: Final = "EVENTSOURCE_APP"
_EXAMPLE: Final = "such as examples.bank:bank"


def load_app(reference: str | None, environment: Mapping[str, str], directory: Path) -> App:
    """The app named by `reference`, else by EVENTSOURCE_APP, else by `[tool.eventsource] app` in `directory`/pyproject.toml.

    `directory` is put first on `sys.path`. Raises `SettingsError` with the remedy: no reference, no colon, no such module, a
    module that fails on import, no such attribute, not an `App`. Errors of the framework in the module pass through.
    """
    found_reference = named_app(reference, environment, directory)
    if found_reference is None:
        raise SettingsError(
            f"no app was named: give MODULE:APP ({_EXAMPLE}), or set {APP_VARIABLE}, or [tool.eventsource] app in pyproject.toml"
        )
    reference, source = found_reference
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute):
        raise SettingsError(f"{source}: {reference!r} does not name an app: write MODULE:APP, {_EXAMPLE}")
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    found = _import(module_name, source, directory)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise SettingsError(f"{source}: {module_name} has no {attribute}{_apps_in(module_name)}")
        found = getattr(found, part)
    if not isinstance(found, App):
        raise SettingsError(
            f"{source}: {reference} is of type {type(found).__name__}, not an App{_apps_in(module_name)}: "
            "name the object made with App(…)"
        )
    return found


def named_app(reference: str | None, environment: Mapping[str, str], directory: Path) -> tuple[str, str] | None:
    """The app's name as `load_app` finds it, and where it was found; None where no app is named."""
    if reference:
        return reference, "argument MODULE:APP"
    if environment.get(APP_VARIABLE):
        return environment[APP_VARIABLE], APP_VARIABLE
    path = directory / "pyproject.toml"
    if path.is_file():
        try:
            tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(
                f"{path} cannot be read as TOML ({error}): correct it, or name the app as MODULE:APP"
            ) from error
        section = tool.get("eventsource", {})
        named = section.get("app") if isinstance(section, dict) else None
        if isinstance(named, str) and named:
            return named, f"[tool.eventsource] app in {path}"
        if named is not None or not isinstance(section, dict):
            raise SettingsError(f'[tool.eventsource] app in {path} is not a text: write app = "MODULE:APP"')
    return None


def _import(name: str, source: str, directory: Path) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise SettingsError(
                f"{source}: there is no module {error.name!r} in {directory} nor among the installed packages: check the name, and "
                "run the command in the folder that holds it"
            ) from error
        raise SettingsError(
            f"{source}: module {name} imports {error.name!r}, which is not there: install it, or correct the import{_shadows(error.name)}"
        ) from error
    except EventSourceError:
        raise
    except SystemExit as error:
        raise SettingsError(
            f'{source}: module {name} calls sys.exit() on import: put what it runs as a program below if __name__ == "__main__"'
        ) from error
    except Exception as error:
        raise SettingsError(
            f"{source}: module {name} fails on import with {type(error).__name__}: {error}: correct it "
            f"(`eventsource --debug …` shows where){_shadows(getattr(error, 'name', None))}"
        ) from error


def _shadows(imported: str | None) -> str:
    if imported is None or imported.partition(".")[0] not in SHARED_NAMES:
        return ""
    return "".join(f"; {shadow}" for shadow in find_shadows() if shadow.name == imported.partition(".")[0])


def _apps_in(module_name: str) -> str:
    apps = [f"{module_name}:{name}" for name, value in vars(sys.modules[module_name]).items() if isinstance(value, App)]
    return f" (it has {', '.join(apps)})" if apps else ""
