"""Reads a TOML file, with an overlay from the environment, into a frozen msgspec Struct; or says exactly what is wrong.

Unknown keys are errors with a suggestion, so that a misspelt option is never silently ignored.
"""

import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from fedloom.errors import ConfigError
from fedloom.suggest import closest

Config = TypeVar("Config", bound=msgspec.Struct)

_AT_PATH = re.compile(r"^(?P<problem>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`")
_IN_QUOTES = 'make it a list; if its key has a dot, that stands in quotes: "a.b" = [1, 2]'
_MISSING = re.compile(r"Object missing required field `(?P<key>[^`]*)`")


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
    if (place := _not_finite(tree)) is not None:
        problem = f"{_value_at(tree, place)} is not a finite number"
        raise ConfigError(where, _join(table, place), problem, "correct the value")
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        found = _explain(error, tree, kind, where)
        raise ConfigError(where, _join(table, found.field), found.problem, found.remedy) from None


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


def _explain(error: msgspec.ValidationError, tree: object, kind: type, where: str) -> ConfigError:
    match = _AT_PATH.match(str(error))
    problem, path = (match["problem"], match["path"] or "") if match else (str(error), "")
    if unknown := _UNKNOWN.match(problem):
        key = unknown["key"]
        known = _fields_at(kind, path)
        close = closest(key, known)
        hint = f"did you mean '{close}'?" if close else f"known keys are {', '.join(known)}"
        return ConfigError(where, _join(path, key), "is not a known key", hint)
    if missing := _MISSING.match(problem):
        return ConfigError(where, _join(path, missing["key"]), "is missing", "add it")
    value = _value_at(tree, path)
    shown = f"{value!r}: " if path and not isinstance(value, dict) else ""
    remedy = _IN_QUOTES if problem == "Expected `array`, got `object`" else _known_values(kind, path, value)
    return ConfigError(where, path, f"{shown}{problem[0].lower()}{problem[1:]}", remedy)


def _known_values(kind: type, path: str, value: object) -> str:
    """What to do about a value that is wrong: where there are few that are right, these are named."""
    *tables, key = _steps(path) or [""]
    choices = _choices_in(_fields_at(kind, ".".join(tables)).get(key)) if isinstance(value, str) else []
    return f"choose one of {', '.join(choices)}" if choices else "correct the value"


def _not_finite(node: object, path: str = "") -> str | None:
    """Where an infinity or NaN stands, which TOML can write and no key means."""
    if isinstance(node, float):
        return None if math.isfinite(node) else path
    items: Iterable[tuple[str, object]] = ()
    if isinstance(node, dict):
        items = ((_join(path, key), value) for key, value in node.items())
    elif isinstance(node, list):
        items = ((f"{path}[{index}]", value) for index, value in enumerate(node))
    return next((found for place, value in items if (found := _not_finite(value, place)) is not None), None)


def _join(path: str, key: str) -> str:
    return ".".join(part for part in (path, key) if part)


def _steps(path: str) -> list[str]:
    return [step for step in re.split(r"[.\[\]]+", path) if step]


def _fields_at(kind: type, path: str) -> dict[str, Any]:
    """The keys that are allowed at `path` below `kind`, and their types."""
    node: Any = kind
    for step in _steps(path):
        if step != "..." and not step.isdigit() and _struct_in(node) is not None:
            fields = {field.encode_name: field.type for field in msgspec.structs.fields(_struct_in(node))}
            node = fields.get(step, node)
    struct = _struct_in(node)
    return {field.encode_name: field.type for field in msgspec.structs.fields(struct)} if struct else {}


def _struct_in(annotation: Any) -> Any:
    """The Struct in an annotation such as `Window | None` or `tuple[Window, ...]`, or None."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next((found for part in get_args(annotation) if (found := _struct_in(part)) is not None), None)


def _choices_in(annotation: Any) -> list[str]:
    """The texts of the Literals in an annotation such as `Literal["a", "b"] | None`."""
    if get_origin(annotation) is Literal:
        return [each for each in get_args(annotation) if isinstance(each, str)]
    return [each for part in get_args(annotation) for each in _choices_in(part)]


def _value_at(tree: object, path: str) -> object:
    for step in _steps(path):
        if isinstance(tree, dict):
            tree = tree.get(step)
        elif isinstance(tree, list) and step.isdigit():
            tree = tree[int(step)]
    return tree
