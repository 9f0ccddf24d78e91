"""Where large matrices lie: in memory, or beyond a bound in a file that has no name and goes with the process."""

import math
import os
import tempfile

import numpy as np

from fedloom.errors import FedloomError
from strategies.base import Matrix

IN_MEMORY_BYTES = 2**30
"""Above, a matrix is a memory map of a temporary file (in TMPDIR), so that the system may write it out."""


class NoRoomError(FedloomError):
    """What a simulation keeps outside of its memory has no room there."""

    exit_status = 1

    def __init__(self, size_bytes: int, error: OSError) -> None:
        """`error` has refused so many bytes."""
        folder = tempfile.gettempdir()
        what = f"{size_bytes / 1e6:,.0f} MB have no room below {folder} ({error.strerror})"
        super().__init__(f"{what}; set TMPDIR to a folder with more, or train fewer clients a round")


def allocate(shape: tuple[int, int]) -> Matrix:
    """float32, not filled in.

    Raises:
        NoRoomError: for a file as large as this.
    """
    size_bytes = 4 * math.prod(shape)
    if size_bytes <= IN_MEMORY_BYTES:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile(prefix="fedloom-") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size_bytes)  # now: later it would kill the process that touches it
        except OSError as error:
            raise NoRoomError(size_bytes, error) from None
        return np.memmap(file, np.float32, "r+", shape=shape)
