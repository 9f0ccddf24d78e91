"""Where a client's weights and buffers lie for `tiles`: every row of a matrix begins at a vector's boundary.

A layer is [W; b], (fan in + 1, fan out), as in `fedloom.learning.network`, with more columns and rows, which are zero
and stay so.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedloom.learning.layout import Array
from fedloom.learning.spec import ModelSpec
from simulation.cohort.compiled.machine import VECTOR_BYTES, at, compiled

FAN_IN, DEEP, FAN_OUT, WIDE, WEIGHTS_AT, INPUT_AT, INPUT_ROW, DELTA_AT = range(8)
"""Columns of `Padded.layers`: the inputs, then with the bias and up to `TILE`; the outputs, then up to whole vectors;
where its matrix, its inputs and ∂loss/∂z begin, and how far the rows of its inputs are apart."""
TILE = 8
"""Rows of a matrix that are changed together."""
_BATCH_TILES = 10, 8, 4


class Padded:
    """Of one model and number of rows."""

    def __init__(self, spec: ModelSpec, batch: int, dtype: DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.lanes = VECTOR_BYTES // self.dtype.itemsize
        self.tile = min(_BATCH_TILES, key=lambda tile: _up(batch, tile))
        """Rows of a batch that are multiplied together."""
        self.rows = _up(batch, self.tile)
        self.columns = _up(batch, self.lanes)
        """Of a batch that is turned."""
        self.weights = self.inputs = self.deltas = 0
        """Numbers that all layers take."""
        layers = [self._layer(fan_in, fan_out) for fan_in, fan_out in pairwise(spec.widths)]
        self.layers: NDArray[np.intp] = np.array(layers, np.intp)

    def _layer(self, fan_in: int, fan_out: int) -> list[int]:
        deep, wide = _up(fan_in + 1, TILE), _up(fan_out, self.lanes)
        row = _up(deep, self.lanes)  # `add_update` reads so many, and `forward` writes whole vectors
        layer = [fan_in, deep, fan_out, wide, self.weights, self.inputs, row, self.deltas]
        self.weights += deep * wide
        self.inputs += self.rows * row
        self.deltas += self.rows * wide
        return layer

    def zeros(self, *shape: int) -> Array:
        """Aligned, so that each row is, if the last axis is of whole vectors."""
        size = int(np.prod(shape))
        raw = np.zeros(size + self.lanes, self.dtype)
        start = -raw.ctypes.data % VECTOR_BYTES // self.dtype.itemsize
        return raw[start : start + size].reshape(shape)

    def fill(self, padded: Array, flat: Array) -> None:
        """`padded` (g, weights) from (p,) or (g, p)."""
        if flat.ndim == 1 and len(padded):
            fill(self.layers, flat[None], padded[:1])
            padded[1:] = padded[0]
        else:
            fill(self.layers, flat, padded)


@compiled
def fill(layers: NDArray[np.intp], flat: Array, padded: Array) -> None:
    """`padded` (g, weights) from `flat` (g, p)."""
    padded[:] = 0.0  # a client that diverged may have left NaN beside the matrices
    for client in range(len(padded)):
        given, own, of = flat[client], padded[client], at(0)
        for layer in layers:
            width = at(layer[FAN_OUT])
            for p in range(layer[FAN_IN] + 1):
                to = at(layer[WEIGHTS_AT] + p * layer[WIDE])
                for j in range(width):
                    own[to + j] = given[of + j]
                of += width


@compiled
def read(
    layers: NDArray[np.intp],
    padded: Array,
    which: NDArray[np.intp],
    start: Array,
    out: Array,
    rows: NDArray[np.intp],
) -> None:
    """out[rows] = padded[which] − start, of which there is one, or one for each."""
    for number in range(len(which)):
        own, found, to = padded[which[number]], out[rows[number]], at(0)
        begin = start[number if len(start) > 1 else 0]
        for layer in layers:
            width = at(layer[FAN_OUT])
            for p in range(layer[FAN_IN] + 1):
                of = at(layer[WEIGHTS_AT] + p * layer[WIDE])
                for j in range(width):
                    found[to + j] = own[of + j] - begin[to + j]
                to += width


def _up(number: int, step: int) -> int:
    return -(-number // step) * step
