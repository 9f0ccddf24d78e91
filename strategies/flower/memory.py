"""What a strategy of Flower remembers, as plain data: the values of its attributes by name.

Nothing is pickled, so that a state file can hold no code, and the same memory is always the same bytes. Functions and
classes are left as the constructor sets them; what is neither plain data nor that is refused.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy

from strategies.base import FusionError

_CODE = (types.FunctionType, types.BuiltinFunctionType, type)
_SEQUENCES: dict[str, Any] = {kind.__name__: kind for kind in (list, tuple)}
_MAPPINGS: dict[str, Any] = {
    kind.__name__: kind for kind in (dict, ArrayRecord, ConfigRecord, MetricRecord, RecordDict)
}
_INTEGER_LIMIT = 2**63


class Raw(msgspec.Struct, frozen=True, tag=True):
    """Bytes."""

    data: bytes


class Tensor(msgspec.Struct, frozen=True, tag=True):
    """An array of numpy's, or one of its scalars."""

    dtype: str
    """Little-endian, as numpy writes it: `<f4`."""
    shape: tuple[int, ...]
    data: bytes
    is_scalar: bool = False


class Serialised(msgspec.Struct, frozen=True, tag=True):
    """flwr's `Array`, which holds its own bytes."""

    dtype: str
    shape: tuple[int, ...]
    stype: str
    data: bytes


class Items(msgspec.Struct, frozen=True, tag=True):
    """A list or a tuple."""

    kind: str
    """In `_SEQUENCES`."""
    items: tuple[Value, ...]


class Pairs(msgspec.Struct, frozen=True, tag=True):
    """A dict or one of flwr's records, in its own order."""

    kind: str
    """In `_MAPPINGS`."""
    items: tuple[tuple[Value, Value], ...]


Value = None | bool | int | float | str | Raw | Tensor | Serialised | Items | Pairs
Memory = dict[str, Value]


def capture(strategy: Strategy, made: Mapping[str, object]) -> Memory:
    """All attributes, in order of their names; `made` are those that the constructor has set.

    Raises:
        FusionError: one is not plain data, so that the next round would go on without it.
    """
    memory: Memory = {}
    if slots := [name for kind in type(strategy).__mro__ for name in vars(kind).get("__slots__", ())]:
        problem = f"{type(strategy).__name__} has {', '.join(slots)} in __slots__, which cannot be kept"
        raise FusionError(f"{problem} from round to round; leave __slots__ out")
    for name, value in sorted(vars(strategy).items()):
        if isinstance(value, _CODE) and made.get(name) is value:
            continue
        try:
            memory[name] = _plain(value)
        except (TypeError, RecursionError) as error:
            problem = f"attribute {name!r} of {type(strategy).__name__} cannot be kept from round to round"
            remedy = "hold numbers, text, numpy arrays, flwr's records, or lists, tuples and dicts of such"
            raise FusionError(f"{problem} ({error}); {remedy}") from None
    return memory


def restore(strategy: Strategy, memory: Memory) -> None:
    """Give a strategy that was just made the attributes of an earlier one."""
    for name in [name for name, value in vars(strategy).items() if not isinstance(value, _CODE)]:
        delattr(strategy, name)
    for name, value in memory.items():
        setattr(strategy, name, _live(value))


def _plain(value: Any) -> Value:
    """Raises TypeError: it cannot be represented."""
    kind = type(value)
    if kind is int and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise TypeError("an integer of more than 64 bits")
    if value is None or kind in (bool, int, float, str):
        return value  # type: ignore[no-any-return]  # of these kinds
    if kind is bytes:
        return Raw(value)
    if kind is np.ndarray or isinstance(value, np.generic):
        return _tensor(value)
    if kind is Array:
        return Serialised(value.dtype, tuple(value.shape), value.stype, bytes(value.data))
    if kind in _SEQUENCES.values():
        return Items(kind.__name__, tuple(map(_plain, value)))
    if kind in _MAPPINGS.values():
        return Pairs(kind.__name__, tuple((_plain(key), _plain(item)) for key, item in value.items()))
    raise TypeError(f"a {kind.__module__}.{kind.__qualname__}")


def _tensor(value: Any) -> Tensor:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"numpy's {array.dtype}")
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return Tensor(array.dtype.str, array.shape, array.tobytes(), isinstance(value, np.generic))


def _live(value: Value) -> object:
    if isinstance(value, Raw):
        return value.data
    if isinstance(value, Tensor):
        array = np.frombuffer(value.data, np.dtype(value.dtype)).reshape(value.shape).copy()
        return array[()] if value.is_scalar else array
    if isinstance(value, Serialised):
        return Array(value.dtype, value.shape, value.stype, value.data)
    if isinstance(value, Items):
        return _SEQUENCES[value.kind](map(_live, value.items))
    if isinstance(value, Pairs):
        return _MAPPINGS[value.kind]({_live(key): _live(item) for key, item in value.items})
    return value
