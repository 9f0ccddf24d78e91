"""A configuration's reference page says the same as its Struct: the same tables, keys and defaults.

A page has one heading for each TOML table, with its name in brackets (`## [data.window]`), and below it one row a key:
| `length` | integer | required | Rows a window. |. The top-level keys stand before the first such heading.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

_TABLE = re.compile(r"^#{1,6}\s+`?\[+([\w.]+)\]+`?")
_ROW = re.compile(r"^\|\s*`(?P<key>\w+)`\s*\|[^|]*\|\s*(?P<default>[^|]*?)\s*\|")


def disagreements(kind: type[msgspec.Struct], page: Path) -> list[str]:
    """One line for each table, key or default in which `page` differs from `kind`."""
    try:
        said = parse(page.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [f"{page}: is missing; it is to document {kind.__module__}.{kind.__qualname__}"]
    found: list[str] = []
    tables = dict(expected(kind))
    for table in sorted(tables.keys() | said.keys()):
        place = f"{page.name}: [{table}]" if table else f"{page.name}: top level"
        if table not in said and tables[table]:
            found.append(f"{place} is not documented")
        elif table not in tables:
            found.append(f"{place} is documented, but {kind.__name__} has no such table")
        else:
            found += [f"{place} {difference}" for difference in _differences(tables[table], said.get(table, {}))]
    return found


def expected(kind: type[msgspec.Struct], table: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """(table, {key: default as a cell}) for `kind` and every Struct below it."""
    keys: dict[str, str] = {}
    below: list[tuple[str, type[msgspec.Struct]]] = []
    for field in msgspec.structs.fields(kind):
        struct = struct_in(field.type)
        if struct is None:
            keys[field.encode_name] = _cell(field)
        else:
            below.append((f"{table}.{field.encode_name}".lstrip("."), struct))
    yield table, keys
    for name, struct in below:
        yield from expected(struct, name)


def parse(text: str) -> dict[str, dict[str, str]]:
    """{table: {key: default cell}} of a reference page."""
    table, said = "", {"": dict[str, str]()}
    for line in text.splitlines():
        if heading := _TABLE.match(line):
            table = heading[1]
            said[table] = {}
        elif row := _ROW.match(line):
            said[table][row["key"]] = row["default"]
    return said


def struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """The Struct in an annotation such as `Window | None` or `tuple[Window, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next((found for part in get_args(annotation) if (found := struct_in(part)) is not None), None)


def _cell(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return f"`{_toml(default)}`" if default is not None else "none"


def _toml(value: Any) -> str:
    """Numbers are compared as numbers are written in Python, strings and lists as in TOML."""
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _differences(wanted: dict[str, str], said: dict[str, str]) -> Iterator[str]:
    for key in wanted.keys() - said.keys():
        yield f"{key} is not documented"
    for key in said.keys() - wanted.keys():
        yield f"{key} is documented, but is no key"
    for key in wanted.keys() & said.keys():
        if wanted[key] != said[key]:
            yield f"{key}: the page says default {said[key]}, the code says {wanted[key]}"
