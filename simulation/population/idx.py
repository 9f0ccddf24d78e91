"""IDX files, the format of MNIST: 0, 0, type, number of dimensions, each dimension as big-endian uint32, then values.

Only unsigned bytes (type 8) are read. Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fedloom.errors import DataError

_Readable = IO[bytes] | gzip.GzipFile

MAX_BYTES = 1 << 30
"""Values that a file may hold: twenty times MNIST."""


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in `path` or, where there is none, in `path`.gz.

    Raises:
        DataError: there is neither, or it is not such a file, or has fewer or more values than its header claims.
    """
    with _opened(path) as (found, file):
        shape = _shape(found, file, dimensions)
        size = math.prod(shape)
        if size > MAX_BYTES:
            problem = f"claims {size:,} bytes, more than {MAX_BYTES:,}"
            raise DataError(str(found), "", problem, "split it, or write an .npz")
        body = file.read(size + 1)
    if len(body) != size:
        problem = f"does not hold the {size:,} bytes that its header claims"
        raise DataError(str(found), "", problem, "copy or download it again")
    return np.frombuffer(body, np.uint8).reshape(shape)


def read_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape that the header claims.

    Raises:
        DataError: there is no such file.
    """
    with _opened(path) as (found, file):
        return _shape(found, file, dimensions)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Path, _Readable]]:
    zipped = path.with_name(f"{path.name}.gz")
    found = path if path.exists() or not zipped.exists() else zipped
    try:
        with found.open("rb") as file:
            if found != zipped:
                yield found, file
                return
            with gzip.open(file) as inflated:
                yield found, inflated
    except FileNotFoundError:
        raise DataError(str(path), "", "there is no such file, nor a .gz", "give the folder with all four") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(str(found), "", f"cannot be read ({error})", "copy or download it again") from None


def _shape(path: Path, file: _Readable, dimensions: int) -> tuple[int, ...]:
    head = file.read(4 + 4 * dimensions)
    if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
        problem = f"is not an IDX file of bytes in {dimensions} dimensions"
        raise DataError(str(path), "", problem, "give the files as they are distributed")
    return tuple(int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4))
