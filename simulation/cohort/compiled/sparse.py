"""Inputs that are mostly zero, such as images of digits: only what is not zero takes part."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Array
from simulation.cohort.compiled.machine import at, compiled, read_only
from simulation.cohort.shards import Shards

Places = NDArray[np.uint32]
_SPARSE, _WIDE = 0.4, 256
"""Where at most this share of so many features is not zero, the sparse products take less time (784×200, batches of 10;
with 64 features they take more).
"""
_LOOKED_AT = 1_000
_MOST = 1 << 27
"""Numbers: of a larger pool, which may be a file, a copy of what is not zero would take too much memory."""


class Pool(NamedTuple):
    """(n, d) features by rows: row r has `values[starts[r]:starts[r + 1]]` in columns `places[…]`.

    Of features that are not sparse, `values` is empty and `x` has all; of sparse ones `x` is not looked at.
    """

    x: Array
    starts: NDArray[np.intp]
    places: Places
    values: Array


def pool_of(shards: Shards) -> Pool:
    """Sparse, if it pays."""
    x = read_only(shards.x)
    seen = x[:: max(1, len(x) // _LOOKED_AT)]
    if x.shape[1] < _WIDE or x.size > _MOST or np.count_nonzero(seen) > _SPARSE * seen.size:
        return Pool(x, np.zeros(1, np.intp), np.empty(0, np.uint32), np.empty(0, x.dtype))
    starts = np.zeros(len(x) + 1, np.intp)
    np.cumsum(np.count_nonzero(x, axis=1), out=starts[1:])
    found = Pool(x, starts, np.empty(max(1, starts[-1]), np.uint32), np.empty(max(1, starts[-1]), x.dtype))
    _fill(found)
    return found


@compiled
def _fill(pool: Pool) -> None:
    q = at(0)
    for row in range(pool.x.shape[0]):
        for column in range(pool.x.shape[1]):
            if pool.x[row, column] != 0.0:
                pool.places[q] = column
                pool.values[q] = pool.x[row, column]
                q += at(1)


@compiled
def turn(
    pool: Pool, rows: NDArray[np.intp], width: int, starts: NDArray[np.intp], places: Places, values: Array
) -> None:
    """These rows by columns: column p has `values[starts[p]:starts[p + 1]]` in the rows `places[…]`."""
    starts[: width + 1] = 0
    for row in rows:
        for q in range(at(pool.starts[row]), at(pool.starts[row + 1])):
            starts[at(pool.places[q]) + at(1)] += 1
    for column in range(width):
        starts[column + 1] += starts[column]
    for i in range(len(rows)):
        for q in range(at(pool.starts[rows[i]]), at(pool.starts[rows[i] + 1])):
            column = at(pool.places[q])
            to = at(starts[column])
            places[to] = i
            values[to] = pool.values[q]
            starts[column] += 1  # is the beginning of the next one in the end
    for column in range(width, 0, -1):
        starts[column] = starts[column - 1]
    starts[0] = 0
