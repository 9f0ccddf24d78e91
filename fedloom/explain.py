"""What exactly is wrong with parsed TOML: where, which value, and what to do."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from fedloom.suggest import closest

Steps = tuple[str | int, ...]
"""A place in a tree: keys of tables and indices of lists."""

_AT_PATH = re.compile(r"^(?P<problem>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_ANY_KEY = "[...]"
"""How msgspec writes a key of a table whose keys are free."""
_STEP = re.compile(r"\[\.\.\.\]|\[\d+\]|[^.\[\]]+")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<key>[^`]*)`")
_IN_QUOTES = 'make it a list; if its key has a dot, that stands in quotes: "a.b" = [1, 2]'
_LARGEST = 2**63 - 1
"""Whole number: TOML promises no larger one, and messages and arrays have none."""


class Fault(NamedTuple):
    """The parts of a ConfigError."""

    field: str
    problem: str
    remedy: str


def unbounded(tree: object) -> Fault | None:
    """The first infinity, NaN or huge whole number, which TOML can write and no key means."""
    place = _first_unbounded(tree)
    if place is None:
        return None
    value = _value_at(tree, place)
    problem = "is not a finite number" if isinstance(value, float) else "is too large a number"
    return Fault(field_of(place), f"{value} {problem}", "correct the value")


def explain(error: msgspec.ValidationError, tree: object, kind: type[msgspec.Struct]) -> Fault:
    """Why `tree` could not be converted to `kind`."""
    problem, place = _read(error)
    steps = _found(place, tree, kind)
    if unknown := _UNKNOWN.match(problem):
        key = unknown["key"]
        known = _fields_at(kind, steps)
        close = closest(key, known)
        hint = f"did you mean '{close}'?" if close else f"known keys are {', '.join(known)}"
        return Fault(field_of((*steps, key)), "is not a known key", hint)
    if missing := _MISSING.match(problem):
        return Fault(field_of((*steps, missing["key"])), "is missing", "add it")
    value = _value_at(tree, steps)
    shown = f"{value!r}: " if isinstance(value, str) else "" if isinstance(value, dict) or not steps else f"{value}: "
    return Fault(field_of(steps), f"{shown}{problem[0].lower()}{problem[1:]}", _remedy(problem, kind, steps, value))


def _remedy(problem: str, kind: type, steps: Steps, value: object) -> str:
    """What to do about a value that is wrong: where there are few that are right, these are named."""
    if problem == "Expected `array`, got `object`":
        return _IN_QUOTES
    if problem.startswith("Expected `array`"):
        return f"make it a list: [{msgspec.json.encode(value).decode()}]"
    *tables, key = steps or ("",)
    annotation = _fields_at(kind, tables).get(str(key)) if isinstance(value, str) else None
    if "regex" in problem and (wanted := _described(annotation)):
        return f"write {wanted}"
    choices = _choices_in(annotation)
    return f"choose one of {', '.join(choices)}" if choices else "correct the value"


def _is_unbounded(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and abs(value) > _LARGEST


def _first_unbounded(node: object, steps: Steps = ()) -> Steps | None:
    if _is_unbounded(node):
        return steps
    found = (_first_unbounded(value, (*steps, step)) for step, value in _items(node))
    return next((place for place in found if place is not None), None)


def _items(node: object) -> Iterable[tuple[str | int, object]]:
    if isinstance(node, dict):
        return node.items()
    return enumerate(node) if isinstance(node, list | tuple) else ()


def _read(error: msgspec.ValidationError) -> tuple[str, Steps]:
    """The problem, and its place, which msgspec writes as `$.a.b[0][...]`."""
    match = _AT_PATH.match(str(error))
    if match is None:
        return str(error), ()
    found = _STEP.findall(match["path"] or "")
    return match["problem"], tuple(int(step[1:-1]) if step[0] == "[" and step != _ANY_KEY else step for step in found)


def _found(place: Steps, tree: object, kind: type[msgspec.Struct]) -> Steps:
    """The same place with a key for each `[...]`: the first whose value is wrong, too, where it is the only one."""
    steps = list(place)
    for at in (at for at, step in enumerate(place) if step == _ANY_KEY):
        for key, value in _items(_value_at(tree, steps[:at])):
            alone = _with_value(tree, steps[:at], {key: value})
            if _is_wrong_at(place, alone, kind):
                tree, steps[at] = alone, key
                break
    return tuple(steps)


def _is_wrong_at(place: Steps, tree: object, kind: type[msgspec.Struct]) -> bool:
    try:
        msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        return _read(error)[1] == place
    return False


def _with_value(node: object, steps: Sequence[str | int], value: object) -> object:
    """The same tree with another value at its place."""
    if not steps:
        return value
    step, *rest = steps
    changed = {key: _with_value(each, rest, value) if key == step else each for key, each in _items(node)}
    return changed if isinstance(node, dict) else list(changed.values())


def field_of(steps: Sequence[str | int]) -> str:
    """As people write it.

    >>> field_of(("sweep", "training.momentum", 0))
    'sweep."training.momentum"[0]'
    """
    parts = [f"[{step}]" if isinstance(step, int) else f'."{step}"' if "." in step else f".{step}" for step in steps]
    return "".join(parts).removeprefix(".").replace(f".{_ANY_KEY}", _ANY_KEY)


def _fields_at(kind: type, steps: Sequence[str | int]) -> dict[str, Any]:
    """The keys that are allowed at this place below `kind`, and their types."""
    node: Any = kind
    for step in steps:
        if isinstance(step, str) and _struct_in(node) is not None:
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


def _described(annotation: Any) -> str:
    """What a pattern means in words, where its Meta says so."""
    metas = (meta for meta in getattr(annotation, "__metadata__", ()) if isinstance(meta, msgspec.Meta))
    return next((meta.description for meta in metas if meta.description), "")


def _value_at(tree: object, steps: Sequence[str | int]) -> object:
    for step in steps:
        tree = dict(_items(tree)).get(step)
    return tree
