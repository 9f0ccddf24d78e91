"""Where large matrices lie: in memory, or beyond a bound in a file that has no name and goes with the process."""

import math
import tempfile

import numpy as np

from strategies.base import Matrix

IN_MEMORY_BYTES = 2**30
"""Above, a matrix is a memory map of a temporary file (in TMPDIR), so that the system may write it out."""


def allocate(shape: tuple[int, int]) -> Matrix:
    """float32, not filled in."""
    size_bytes = 4 * math.prod(shape)
    if size_bytes <= IN_MEMORY_BYTES:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile(prefix="fedloom-") as file:
        file.truncate(size_bytes)
        return np.memmap(file, np.float32, "r+", shape=shape)
