"""Reads named arrays from an NPZ file, with its inflated size bounded before anything is inflated."""

import math
import zipfile
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fedloom.data.config import SourceConfig
from fedloom.data.table import (
    Alive,
    Labels,
    Numbers,
    Table,
    Wanted,
    name_in_file,
    nobody_watches,
    reading,
    too_large,
    too_long,
)
from fedloom.errors import CellError, DataError

Array = NDArray[Any]
_DECODER_ERRORS = (zipfile.BadZipFile, ValueError, RuntimeError)
"""RuntimeError: encrypted, or an unknown compression."""


def read_npz(source: SourceConfig, wanted: Wanted, alive: Alive = nobody_watches) -> Table:
    """Read the wanted arrays: numbers as (n,) or (n, k), labels as (n,). Nothing is ever unpickled.

    Raises:
        DataError: the file cannot be read or is too large, lacks an array, or one has the wrong shape, type or a NaN.
    """
    with reading(source, *_DECODER_ERRORS), zipfile.ZipFile(source.path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > source.max_bytes:
            raise too_large(source)
        arrays = {}
        for name in (*wanted.numbers, *wanted.labels):
            alive()
            arrays[name] = _read_array(source, name, archive)
    _check_rows(source, arrays)
    numbers = {name: to_numbers(source, name, arrays[name]) for name in wanted.numbers}
    labels = {name: to_labels(source, name, arrays[name]) for name in wanted.labels}
    return Table(numbers, labels, None)


def _read_array(source: SourceConfig, name: str, archive: zipfile.ZipFile) -> Array:
    present = [entry.removesuffix(".npy") for entry in archive.namelist() if entry.endswith(".npy")]
    entry = archive.getinfo(name_in_file(source, name, present) + ".npy")
    with archive.open(entry) as stream:  # numpy allocates what the header claims, so compare it with what is there
        shape, _, dtype = read_header(stream)
        check_plain(source, name, dtype)
        if stream.tell() + math.prod(shape) * dtype.itemsize != entry.file_size:
            raise DataError(source.path, name, f"does not hold the {shape} that its header claims", "write it anew")
    with archive.open(entry) as stream:
        array: Array = npy.read_array(stream, allow_pickle=False)
    return array


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether by columns, and type of an array in numpy's format; nothing that the header claims is believed.

    Raises:
        ValueError: it is in another format.
    """
    version = npy.read_magic(stream)
    return (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream)


def check_plain(source: SourceConfig, name: str, dtype: np.dtype[Any]) -> None:
    """Refuse an array that only unpickling could read, which may run anything.

    Raises:
        DataError: it holds Python objects.
    """
    if dtype.hasobject:
        remedy = "store numbers or text, as with array.astype(float) or array.astype(str)"
        raise DataError(source.path, name, "holds Python objects, which are never unpickled", remedy)


def _check_rows(source: SourceConfig, arrays: dict[str, Array]) -> None:
    first, rows = "", 0
    for name, array in arrays.items():
        if array.ndim == 0:
            raise DataError(source.path, name, "is a single value", "give it one row a sample")
        if first and len(array) != rows:
            problem = f"{len(array)} rows where {first!r} has {rows}"
            raise DataError(source.path, name, problem, "give every array the same number of rows")
        first, rows = first or name, len(array)
    if rows == 0:
        raise DataError(source.path, "", "has no rows", "give it at least one sample")
    if rows > source.max_rows:
        raise too_long(source)


def to_numbers(source: SourceConfig, name: str, array: Array) -> Numbers:
    """A column of numbers.

    Raises:
        DataError: it has another shape or type, or holds what is not finite.
    """
    if array.ndim > 2:
        problem = f"has shape {array.shape}"
        raise DataError(source.path, name, problem, "flatten each sample: (n,) or (n, k) is wanted")
    if array.dtype.kind not in "iufb":
        raise DataError(source.path, name, f"holds {array.dtype}, not numbers", "store integers or floats")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is reported below
        column = array.astype(np.float32)
    finite = np.isfinite(column)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        place = f"{name}[{', '.join(map(str, where))}]"
        problem = f"{array[where]!s} is not a finite number"
        raise CellError(source.path, place, problem, "correct it or remove that row")
    return column


def to_labels(source: SourceConfig, name: str, array: Array) -> Labels:
    """A column of labels.

    Raises:
        DataError: it has another shape or type.
    """
    if array.ndim != 1:
        raise DataError(source.path, name, f"has shape {array.shape}", "a label column must be (n,)")
    if array.dtype.kind not in "iufbU":
        raise DataError(source.path, name, f"holds {array.dtype}", "store text or whole numbers")
    if array.dtype.kind == "f" and bool((array == np.floor(array)).all()):
        return array.astype(np.int64)  # classes stored as 3.0 are called "3"
    return array
