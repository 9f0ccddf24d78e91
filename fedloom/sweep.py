"""`[sweep]` of a job: keys of the job, each with the values to be tried; every combination is a job of its own.

A key is a dotted path in quotes, and a value is what may stand there, a whole table included:

    [sweep]
    "training.learning_rate" = [0.1, 0.3]
    strategy = [{ name = "fedavg" }, { name = "fedprox", options = { mu = 0.1 } }]
    seed = [1, 2, 3]
"""

import itertools
import math
from collections.abc import Iterator, Mapping

from fedloom.errors import ConfigError

Scalar = bool | int | float | str
Value = Scalar | tuple[Scalar, ...] | dict[str, Scalar | tuple[Scalar, ...] | dict[str, Scalar]]
Sweep = dict[str, tuple[Value, ...]]
Settings = dict[str, Value]
"""One value for each key of a sweep."""
MAX_RUNS = 1000
"""Combinations of one sweep."""
_NOT_SWEPT = ("name", "sweep")


def check_sweep(sweep: Sweep, where: str) -> None:
    """Refuse a sweep that can be seen to be wrong without a look at the job.

    Raises:
        ConfigError: names the key.
    """
    for key, values in sweep.items():
        place = f'sweep."{key}"'
        if not values:
            raise ConfigError(where, place, "has no values", "give it some, or leave it out")
        if any(value in values[:index] for index, value in enumerate(values)):
            raise ConfigError(where, place, "has a value twice", "give each once; for repetitions sweep over seed")
        if key.split(".")[0] in _NOT_SWEPT:
            raise ConfigError(where, place, "cannot be swept over", "leave it out")
        if within := next((other for other in sweep if other.startswith(f"{key}.")), None):
            raise ConfigError(where, place, f"sets {within}, too", "leave one of the two out")
    if (runs := math.prod(map(len, sweep.values()))) > MAX_RUNS:
        remedy = f"leave values out, or make several jobs: {MAX_RUNS:,} at most"
        raise ConfigError(where, "sweep", f"has {runs:,} combinations", remedy)


def combinations(sweep: Sweep) -> Iterator[Settings]:
    """Every combination, the last key's values changing fastest; one, that sets nothing, of an empty sweep."""
    return (dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values()))


def with_settings(tree: Mapping[str, object], settings: Settings, where: str) -> dict[str, object]:
    """A job's tree with other values; what is not on their paths is shared with `tree`.

    Raises:
        ConfigError: a path leads through something that is no table.
    """
    changed = dict(tree)
    for key, value in settings.items():
        *tables, last = key.split(".")
        node = changed
        for depth, table in enumerate(tables, 1):
            below = node.get(table)
            if not isinstance(below, dict | None):
                path = ".".join(tables[:depth])
                raise ConfigError(where, f'sweep."{key}"', f"{path} is a value, not a table", "correct the path")
            node[table] = node = dict(below or {})
        node[last] = value
    return changed


def shown(value: object) -> str:
    """A value as people read it in a table.

    >>> shown(0.1), shown("fedavg"), shown((64, 32)), shown({"name": "fedprox", "options": {"mu": 0.1}})
    ('0.1', 'fedavg', '64 32', 'fedprox mu=0.1')
    """
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return " ".join(_part(key, part) for key, part in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _part(key: str, value: object) -> str:
    if isinstance(value, dict) or key in ("name", "method", "kind"):  # which say what the table is
        return shown(value)
    return f"{key}={shown(value)}"
