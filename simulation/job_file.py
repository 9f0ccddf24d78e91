"""A job as a file again: TOML, for the processes of a fleet."""

import json
from pathlib import Path

import msgspec

from fedloom.job import Job


def write_job(job: Job, path: Path) -> Path:
    """Write it; `fedloom.job.load_job` reads the same job."""
    tree = msgspec.to_builtins(job)
    lines = [f"{name} = {_toml(value)}" for name, value in tree.items() if value is not None]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def _toml(value: object) -> str:
    """Tables are written inline.

    >>> _toml({"a": [1, 2.5, True], "b c": 'say "x"', "d": None})
    '{a = [1, 2.5, true], "b c" = "say \\\\"x\\\\""}'
    """
    match value:
        case dict():
            pairs = (f"{_key(name)} = {_toml(each)}" for name, each in value.items() if each is not None)
            return f"{{{', '.join(pairs)}}}"
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)  # TOML writes texts, numbers and booleans as JSON does


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else json.dumps(name, ensure_ascii=False)
