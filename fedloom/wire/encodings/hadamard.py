"""The fast Walsh–Hadamard transform, and a vector as blocks that it fits.

Sums and differences in an order that is fixed, and one product: every machine gets the same bits.
"""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector

Item = TypeVar("Item", np.float32, np.uint8)
BLOCK = 4096
"""The largest block: 16 KiB, which fit a processor's first cache."""


def block_sizes(size: int) -> list[int]:
    """Powers of two that add up to `size`, at most BLOCK each, the largest first: nothing is padded.

    >>> block_sizes(13319)
    [4096, 4096, 4096, 1024, 4, 2, 1]
    """
    whole, rest = divmod(size, BLOCK)
    return [BLOCK] * whole + [1 << bit for bit in reversed(range(BLOCK.bit_length())) if rest >> bit & 1]


def blocks(vector: NDArray[Item]) -> Iterator[NDArray[Item]]:
    """The stretches of `vector` (p,), which may hold anything, that `block_sizes` names, as views."""
    start = 0
    for size in block_sizes(vector.size):
        yield vector[start : start + size]
        start += size


def transform(block: Vector) -> None:
    """block ← block · H_d / √d in place, for a block (d,) of a power of two; twice is as it was.

    Seen as a matrix the block is transformed along its columns, then along its rows: numpy adds long rows fast.
    """
    rows = 1 << (block.size.bit_length() - 1) // 2
    matrix = block.reshape(rows, -1)
    _butterflies(matrix)
    turned = matrix.T.copy()
    _butterflies(turned)
    np.multiply(turned.T, np.float32(block.size**-0.5), out=matrix)


def _butterflies(matrix: Vector) -> None:
    """(a, b) ← (a + b, a − b) along the columns, for pairs of rows that are 1, 2, 4 … apart."""
    apart = 1
    while apart < len(matrix):
        pairs = matrix.reshape(-1, 2, apart, matrix.shape[1])
        first, second = pairs[:, 0], pairs[:, 1]
        difference = first - second
        first += second
        second[:] = difference
        apart *= 2
