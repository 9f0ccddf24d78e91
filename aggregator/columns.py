"""Reads some columns of vectors that lie in files: of most encodings only the bytes that these columns are in.

An encoding that has no bytes of its own for each column is decoded once, into a file without a name.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from aggregator.damage import DamagedError
from fedloom.compression import Encoding
from fedloom.learning.layout import Vector
from fedloom.wire import encoding as encodings
from fedloom.wire.encodings.scales import BLOCK, scales_bytes
from strategies.base import Matrix


class Place(NamedTuple):
    """Where an encoded vector lies."""

    file: int
    """A descriptor; whoever made the place closes it."""
    offset: int
    """Bytes from the beginning."""
    size: int
    """Weights in the vector."""
    encoding: Encoding


def read_columns(places: Sequence[Place], start: int, out: Matrix) -> None:
    """Fill a row of `out` (n, c) from each place with the weights from `start` on; the same bits as a whole decoding.

    Raises:
        DamagedError: a file has become shorter.
        OSError: it cannot be read.
    """
    for place, row in zip(places, out, strict=True):
        SLICED[place.encoding](place, start, row)


def decoded(places: Sequence[Place], lengths: Sequence[int], directory: Path) -> tuple[int, list[Place]]:
    """The same vectors as float32 in a new file in `directory`, which is gone with its descriptor: that, and where.

    Raises:
        DamagedError: a file has become shorter.
        OSError: it cannot be read or written.
    """
    found = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for place, length in zip(places, lengths, strict=True):
            vector: Vector = np.empty(place.size, np.float32)
            encodings.decode(_read(place.file, "u1", length, place.offset).data, place.encoding, vector)
            found.append(Place(-1, file.tell(), place.size, "float32"))
            file.write(vector.astype("<f4", copy=False).data)
        file.flush()
        descriptor = os.dup(file.fileno())
    return descriptor, [place._replace(file=descriptor) for place in found]


def _float32(place: Place, start: int, row: Vector) -> None:
    row[:] = _read(place.file, "<f4", row.size, place.offset + 4 * start)


def _float16(place: Place, start: int, row: Vector) -> None:
    row[:] = _read(place.file, "<f2", row.size, place.offset + 2 * start)


def _int8(place: Place, start: int, row: Vector) -> None:
    first, last = start // BLOCK, (start + row.size - 1) // BLOCK
    scales = _read(place.file, "<f4", last - first + 1, place.offset + 4 * first)
    steps = place.offset + scales_bytes(place.size)
    row[:] = _read(place.file, "i1", row.size, steps + start)
    row *= np.repeat(scales, BLOCK)[start - first * BLOCK :][: row.size]


SLICED: dict[Encoding, Callable[[Place, int, Vector], None]] = {"float32": _float32, "float16": _float16, "int8": _int8}
"""Encodings of which columns can be read by themselves."""


def _read(file: int, dtype: DTypeLike, count: int, offset: int) -> NDArray[np.generic]:
    wanted = count * np.dtype(dtype).itemsize
    data = os.pread(file, wanted, offset)
    if len(data) != wanted:
        raise DamagedError(f"{len(data)} of {wanted} bytes at {offset} of an update are there")
    return np.frombuffer(data, dtype)
