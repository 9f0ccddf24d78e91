"""A scale for each block of 1,024 weights, so that a weight that is large costs only its own block accuracy."""

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector

BLOCK = 1024


def scales_bytes(size: int) -> int:
    """The exact length of the float32 scales of `size` weights.

    >>> scales_bytes(1024), scales_bytes(1025)
    (4, 8)
    """
    return 4 * -(-size // BLOCK)


def block_starts(size: int) -> NDArray[np.int64]:
    """Where each block of `size` weights begins, as `ufunc.reduceat` wants it."""
    return np.arange(0, size, BLOCK, dtype=np.int64)


def spread(scales: Vector, size: int) -> Vector:
    """(size,), the scale of each weight."""
    return np.repeat(scales, BLOCK)[:size]
