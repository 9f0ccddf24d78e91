"""Reads a TOML file, with an overlay from the environment, into a frozen msgspec Struct; or says exactly what is wrong.

Unknown keys are errors with a suggestion, so that a misspelt option is never silently ignored.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fedloom.errors import ConfigError
from fedloom.explain import Fault, explain, unbounded

Config = TypeVar("Config", bound=msgspec.Struct)


def load(path: Path, kind: type[Config], environment: Mapping[str, str] | None = None, prefix: str = "") -> Config:
    """Read `path` as a `kind`.

    With a `prefix`, a variable such as FEDLOOM_EDGE__BROKER__PORT (prefix FEDLOOM_EDGE) overrides `broker.port`.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or does not fit `kind`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(str(path), "", "there is no such file", "check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"cannot be read ({error})", "make it a readable UTF-8 text file") from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), "", f"is not TOML: {error}", "correct that line") from None
    if prefix:
        _overlay(tree, os.environ if environment is None else environment, prefix, str(path))
    return convert(tree, kind, str(path))


def convert(tree: object, kind: type[Config], where: str, table: str = "") -> Config:
    """Turn parsed TOML into a `kind`; `where` names the source in errors, `table` the one in it that `tree` is."""
    if fault := unbounded(tree):
        raise _refusal(where, table, fault)
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise _refusal(where, table, explain(error, tree, kind)) from None


def _refusal(where: str, table: str, fault: Fault) -> ConfigError:
    field = ".".join(part for part in (table, fault.field) if part)
    return ConfigError(where, field, fault.problem, fault.remedy)


def _overlay(tree: dict[str, Any], environment: Mapping[str, str], prefix: str, where: str) -> None:
    for name, value in sorted(environment.items()):
        if not name.startswith(f"{prefix}__"):
            continue
        *tables, key = name.removeprefix(f"{prefix}__").lower().split("__")
        node = tree
        for table in tables:
            node = node.setdefault(table, {})
            if not isinstance(node, dict):
                raise ConfigError(where, table, f"is a value, but {name} treats it as a table", f"unset {name}")
        node[key] = _parse_value(value)


def _parse_value(text: str) -> object:
    """A TOML value where it parses as one, else the text itself: 1883, true, ["a"], or a plain string."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
