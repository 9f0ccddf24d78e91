"""Arrays that stay on the disk, in every process that they are handed to."""

from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np

from fedloom.data.npz_source import read_header


class Mapped(np.memmap[Any, np.dtype[np.float32]]):
    """A read-only (n, k) float32 array in a file.

    Another process is told where it is, not what is in it: so the file must be at the same path on whichever machine.
    """

    def __getitem__(self, index: Any) -> Any:
        """What is taken from it is an ordinary array."""
        return np.asarray(self)[index]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """The place in the file, if this is the array as it was mapped."""
        base: object = self.base
        if not isinstance(base, mmap):
            return np.asarray(self).__reduce_ex__(protocol)
        return map_array, (Path(str(self.filename)), int(self.offset), self.shape)


def map_array(path: Path, offset: int, shape: tuple[int, ...]) -> Mapped:
    """The float32 array that begins at byte `offset`, by rows."""
    return Mapped(path, np.float32, "r", offset, shape)


def map_npy(path: Path) -> Mapped | None:
    """A .npy file; None where it is of another type, order or number of dimensions.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file.
    """
    with path.open("rb") as stream:
        shape, is_fortran, dtype = read_header(stream)
        offset = stream.tell()
    if dtype != np.dtype(np.float32) or is_fortran or len(shape) != 2 or offset % dtype.itemsize:
        return None
    return map_array(path, offset, shape)
