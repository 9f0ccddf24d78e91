"""What an app's messages hold: named records of arrays, metrics and settings. Data, never code.

A request is what every invited device's app is asked, a reply what one of them answers. Both are msgpack; an array is
its type, its shape and its values, little-endian, the last index fastest. Whoever reads one bounds its length before.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedloom import msgpack
from fedloom.errors import Reason, Refused
from fedloom.wire.messages import Count, Text
from fedloom.wire.tally import count_values

MAX_RECORDS = 64
"""In one message."""
MAX_ITEMS = 16_384
"""Arrays, metrics or settings of one record; values of one list."""
MAX_VALUES = 65_536
"""In a request or a reply, as msgpack counts: names, types, shapes and each of their numbers, lists and what is in
them. An array of d dimensions is 5 + d, a metric or a setting 2. What an array holds is one value, however long."""
MAX_DIMENSIONS = 32
MAX_ARRAY_BYTES = 2**31 - 1
"""As numpy counts them, for which a dimension of 0 is no bound on the others; a host of 32 bits can go no further."""

DType = Literal[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"
]
ITEM_BYTES: dict[DType, int] = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
}
Name = Annotated[str, msgspec.Meta(max_length=300)]
Scalar = bool | int | float | str
Value = bool | int | float | str | Annotated[list[Scalar], msgspec.Meta(max_length=MAX_ITEMS)]
Blob = bytes | Annotated[list[bytes], msgspec.Meta(max_length=MAX_ITEMS)]
Number = int | float | Annotated[list[int | float], msgspec.Meta(max_length=MAX_ITEMS)]


class Array(msgspec.Struct, frozen=True, array_like=True):
    """One array."""

    dtype: DType
    shape: Annotated[tuple[Count, ...], msgspec.Meta(max_length=MAX_DIMENSIONS)]
    data: bytes

    @classmethod
    def of(cls, values: "NDArray[Any]") -> "Array":
        """Pack an array of any memory order.

        Raises:
            ValueError: its type is none that travels.
        """
        dtype = values.dtype.newbyteorder("<")
        for name in ITEM_BYTES:
            if np.dtype(name) == values.dtype.newbyteorder("="):
                return cls(name, values.shape, values.astype(dtype, copy=False).tobytes())
        raise ValueError(
            f"an array of type {values.dtype} cannot be sent; convert it to one of {', '.join(ITEM_BYTES)}"
        )

    def values(self) -> "NDArray[Any]":
        """The values of a checked array, in the host's byte order; they cannot be written to."""
        stored = np.frombuffer(self.data, np.dtype(self.dtype).newbyteorder("<"))
        return stored.astype(self.dtype, copy=False).reshape(self.shape)


class ArrayRecord(msgspec.Struct, frozen=True, array_like=True, tag="arrays"):
    """A model, or what else is arrays; their order matters."""

    items: Annotated[dict[Name, Array], msgspec.Meta(max_length=MAX_ITEMS)]


class MetricRecord(msgspec.Struct, frozen=True, array_like=True, tag="metrics"):
    """Figures."""

    items: Annotated[dict[Name, Number], msgspec.Meta(max_length=MAX_ITEMS)]


class ConfigRecord(msgspec.Struct, frozen=True, array_like=True, tag="config"):
    """Settings."""

    items: Annotated[dict[Name, Value], msgspec.Meta(max_length=MAX_ITEMS)]
    blobs: Annotated[dict[Name, Blob], msgspec.Meta(max_length=MAX_ITEMS)] = {}
    """Those that are bytes, which nobody looks into."""


Record = ArrayRecord | MetricRecord | ConfigRecord
Records = Annotated[dict[Name, Record], msgspec.Meta(max_length=MAX_RECORDS)]
Settings = Annotated[dict[Name, Scalar], msgspec.Meta(max_length=MAX_ITEMS)]


class Request(msgspec.Struct, frozen=True, array_like=True):
    """What the apps of a round's devices are asked; the same bytes for all of them."""

    kind: Text
    """Which of the app's functions is meant: `train`, `evaluate`, `query`, or one of these with `.name`."""
    group: Text
    """What the server's app files the message under."""
    run: Count
    """Names the run to apps; below 2**63."""
    ttl_s: float
    """How long the server's app has use for a reply, as it says."""
    settings: Settings
    """Of the run."""
    content: Records


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """What one app has answered."""

    content: Records | None
    """None where the app has failed."""
    code: int = 0
    """Of the failure, as in flwr's ErrorCode."""
    reason: Text = ""


encode = msgpack.encode


def read_request(blob: bytes) -> Request:
    """A request that can be handed to an app.

    Raises:
        Refused: TOO_LARGE, MALFORMED, WRONG_LENGTH or NON_FINITE.
    """
    _check_count(blob)
    request = msgpack.decode(blob, Request)
    if not math.isfinite(request.ttl_s):
        raise Refused(Reason.NON_FINITE, "the time to live")
    check(request.content)
    return request


def read_reply(blob: bytes) -> Reply:
    """A reply that can be handed to the server's app.

    Raises:
        Refused: TOO_LARGE, MALFORMED, WRONG_LENGTH or NON_FINITE.
    """
    _check_count(blob)
    reply = msgpack.decode(blob, Reply)
    check(reply.content or {})
    return reply


def read_records(blob: bytes) -> dict[str, Record]:
    """Records that stay on this host: they need not be finite.

    Raises:
        Refused: MALFORMED or WRONG_LENGTH.
    """
    records: dict[str, Record] = msgpack.decode(blob, Records)
    check(records, is_finite=False)
    return records


def _check_count(blob: bytes) -> None:
    """Before anything is built: the aggregator reads replies where it does all else, and nothing else goes on then."""
    if count_values(blob, MAX_VALUES) > MAX_VALUES:
        raise Refused(
            Reason.TOO_LARGE,
            f"more than {MAX_VALUES:,} values, names and shapes counted (MAX_VALUES); put them into fewer arrays",
        )


def check(records: dict[str, Record], *, is_finite: bool = True) -> None:
    """Refuse records that are not what they say.

    Raises:
        Refused: WRONG_LENGTH; MALFORMED; with `is_finite` NON_FINITE for arrays and metrics, not for settings.
    """
    for name, record in records.items():
        for item, value in record.items.items():
            where = f"{name}.{item}"
            if isinstance(value, Array):
                _check_array(value, where, is_finite=is_finite)
            elif isinstance(value, list) and len({type(each) for each in value}) > 1:
                raise Refused(Reason.MALFORMED, f"{where}: a list of several types")
            elif isinstance(record, MetricRecord) and is_finite and not _are_finite(value):
                raise Refused(Reason.NON_FINITE, where)


def _check_array(array: Array, where: str, *, is_finite: bool) -> None:
    item_bytes = ITEM_BYTES[array.dtype]
    expected = math.prod(array.shape) * item_bytes
    if len(array.data) != expected:
        raise Refused(Reason.WRONG_LENGTH, f"{where}: {len(array.data)} bytes for {expected}")
    if math.prod(filter(None, array.shape)) * item_bytes > MAX_ARRAY_BYTES:  # an empty one would pass
        raise Refused(Reason.WRONG_LENGTH, f"{where}: no array can have the shape {array.shape}")
    if not array.data:
        return
    if array.dtype == "bool" and np.frombuffer(array.data, np.uint8).max() > 1:
        raise Refused(Reason.MALFORMED, f"{where}: a truth value is neither 0 nor 1")
    if is_finite and array.dtype.startswith("float") and not _is_finite(array.data, item_bytes):
        raise Refused(Reason.NON_FINITE, where)


def _is_finite(data: bytes, item_bytes: int) -> bool:
    if item_bytes > 2:
        truths = np.isfinite(np.frombuffer(data, f"<f{item_bytes}"))
        return b"\0" not in truths.tobytes()  # of the many small ones `all` takes twice as long
    # By its bits, ten times as fast: infinity is 0x7C00, with a sign 0xFC00, and NaN is what lies above each.
    halves = np.frombuffer(data, "<u2")
    return bool(halves.max() < 0xFC00 and halves.view("<i2").max() < 0x7C00)


def _are_finite(value: Any) -> bool:
    numbers: Iterable[float] | Sequence[float] = value if isinstance(value, list) else [value]
    return all(math.isfinite(each) for each in numbers)
