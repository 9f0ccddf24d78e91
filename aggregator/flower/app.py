"""Loads a Flower app as its pyproject.toml describes it: `[tool.flwr.app]`."""

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

from flwr.serverapp import ServerApp
from flwr.supercore.object_ref import load_app

from fedloom.errors import InputError
from fedloom.wire.records import Scalar

FILE = "pyproject.toml"
_COMPONENT = "tool.flwr.app.components.serverapp"
_PAIR = re.compile(r"""[^\s=]+\s*=\s*(?:'[^']*'|"[^"]*"|\[[^]]*\]|[^\s=]+(?=\s|$))|\S+""")
"""A pair, or what is none."""


class LoadedApp(NamedTuple):
    """An app that is ready to run."""

    name: str
    server: ServerApp
    settings: dict[str, Scalar]
    """`[tool.flwr.app.config]`, tables flattened to `table.key`."""


class _LoadError(Exception):
    """What Flower's loader says."""


def load(directory: Path, overrides: dict[str, Scalar]) -> LoadedApp:
    """Read the project, and import its ServerApp; `overrides` replace settings that are there.

    Raises:
        InputError: it is no Flower app, or cannot be imported.
    """
    path = directory / FILE
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(str(path), "", f"cannot be read ({error})", "name the directory of a Flower app") from None
    app = project.get("tool", {}).get("flwr", {}).get("app", {})
    reference = app.get("components", {}).get("serverapp")
    if not isinstance(reference, str):
        raise InputError(str(path), _COMPONENT, "is not there", 'set it to "package.module:app"')
    settings = _flat(app.get("config", {}), path)
    for key, value in overrides.items():
        if key not in settings:
            raise InputError("--run-config", key, "is no setting of the app", f"there are: {', '.join(settings)}")
        settings[key] = value
    name = str(project.get("project", {}).get("name", directory.resolve().name))
    return LoadedApp(name, _import(reference, directory, path), settings)


def _import(reference: str, directory: Path, path: Path) -> ServerApp:
    try:
        server = load_app(reference, _LoadError, directory)
    except (_LoadError, ImportError) as error:
        raise InputError(str(path), _COMPONENT, f"{reference}: {error}", "install what the app needs") from error
    if not isinstance(server, ServerApp):
        raise InputError(str(path), _COMPONENT, f"{reference} is no ServerApp", "name one")
    return server


def _flat(table: dict[str, object], path: Path, prefix: str = "") -> dict[str, Scalar]:
    settings: dict[str, Scalar] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            settings |= _flat(value, path, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            settings[prefix + key] = value
        else:
            problem = f"is a {type(value).__name__}"
            raise InputError(str(path), f"tool.flwr.app.config.{prefix}{key}", problem, "use numbers, words or tables")
    return settings


def parse_overrides(texts: list[str]) -> dict[str, Scalar]:
    """Settings as `flwr run --run-config` takes them: `key=value`, the value as in TOML; several in a text with spaces.

    Raises:
        InputError: one is not like that.
    """
    overrides: dict[str, Scalar] = {}
    for pair in (pair for text in texts for pair in _PAIR.findall(text) or [text]):
        key, _, value = pair.partition("=")
        try:
            read = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            read = None
        if not key or not isinstance(read, bool | int | float | str):
            raise InputError("--run-config", key, f"{value!r}", "write key=value, as in num-rounds=5 or name='\"x\"'")
        overrides[key.strip()] = read
    return overrides
