"""Forward passes over any number of rows, in blocks of bounded memory."""

from collections.abc import Iterator

import numpy as np

from fedloom.learning.layout import Array
from fedloom.learning.network import Network
from fedloom.learning.spec import ModelSpec

BLOCK_VALUES = 1 << 18
"""Numbers that a block may hold in all layers together: 1 MiB of float32."""
MAX_BLOCK_ROWS = 1024


def logits_in_blocks(spec: ModelSpec, weights: Array, x: Array) -> Iterator[tuple[slice, Array]]:
    """The rows of each block and their (1, rows, outputs) logits, in a buffer that the next block reuses.

    Raises:
        ValueError: weights or features do not fit the model.
    """
    size = spec.layout().size
    if weights.shape != (size,):
        raise ValueError(f"weights of shape {weights.shape} for a model of {size}")
    if x.ndim != 2 or x.shape[1] != spec.inputs:
        raise ValueError(f"features of shape {x.shape} for a model with {spec.inputs} inputs")
    return _blocks(spec, weights, x)


def _blocks(spec: ModelSpec, weights: Array, x: Array) -> Iterator[tuple[slice, Array]]:
    block = max(1, min(BLOCK_VALUES // sum(spec.widths), MAX_BLOCK_ROWS, len(x)))
    network = Network(spec, 1, block, weights.dtype, trains=False)
    network.weights[0] = weights
    for start in range(0, len(x), block):
        rows = slice(start, min(start + block, len(x)))
        count = rows.stop - rows.start
        np.copyto(network.inputs(count), x[rows])
        yield rows, network.forward(count)
