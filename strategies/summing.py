"""The weighted sum of all updates, which every mean is made of: one pass, O(p) memory, the same bits in any order.

A block of updates is one product `weights @ block`, which reads memory as fast as it can be read; float64 is carried
from block to block. So the rounding error is that of a float32 sum of BLOCK_ROWS terms, however many updates there are.
Of tiny models more updates make a block, which is summed in float64: else the calls would cost more than the sum.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from fedloom.learning.layout import Vector
from strategies.base import Block, ClientUpdate, Direction, Updates, total_samples
from strategies.tiles import tiles

BLOCK_ROWS = 8
"""With fewer, carrying costs more than it saves; more are not faster, and take memory and precision."""
_BLOCK_NUMBERS = 4096
"""In a block at least, as far as there are updates."""


def weighted_sum(size: int, updates: Updates, weight: Callable[[ClientUpdate], float]) -> Direction:
    """Σ weight(k) · Δ_k, (size,) float64."""
    blocks = updates.blocks(_rows(size))
    return _sum(size, ((block, np.array([weight(each) for each in block.updates], np.float32)) for block in blocks))


def sum_by_samples(size: int, updates: Updates) -> Direction:
    """Σ (n_k / n) · Δ_k, (size,) float64: reads nothing else of an update.

    Raises:
        FusionError: n is zero.
    """
    shares = np.array(updates.samples, np.float64) / total_samples(updates)
    return _sum(size, _with_factors(updates.blocks(_rows(size)), shares.astype(np.float32)))


def _rows(size: int) -> int:
    return max(BLOCK_ROWS, _BLOCK_NUMBERS // max(size, 1))


def _with_factors(blocks: Iterable[Block], factors: Vector) -> Iterator[tuple[Block, Vector]]:
    done = 0
    for block in blocks:
        yield block, factors[done : done + len(block.deltas)]
        done += len(block.deltas)


def _sum(size: int, blocks: Iterable[tuple[Block, Vector]]) -> Direction:
    """Of blocks with a factor for each row."""
    total = np.zeros(size)
    product = np.empty(size, np.float32)
    for block, factors in blocks:
        if len(factors) > BLOCK_ROWS:
            total += factors.astype(np.float64) @ block.deltas.astype(np.float64)
        else:
            np.matmul(factors, block.deltas, out=product)
            total += product
    return total


def sum_of_rows(size: int, updates: Updates, factors: Sequence[float]) -> Direction:
    """Σ factors[k] · Δ_k, (size,) float64, where what an update weighs is known before it is read: in column tiles."""
    weights = np.array(factors, np.float32)
    total = np.zeros(size)
    for tile in tiles(updates, size):
        for first in range(0, len(weights), BLOCK_ROWS):
            block = slice(first, first + BLOCK_ROWS)
            if weights[block].any():
                total[tile.columns] += weights[block] @ tile.deltas[block]
    return total
