"""What arrives of many vectors that are encoded: the bits of `fedloom.wire.encoding`, without a call for each vector.

Encodings that draw something are not here. Rows that are not finite stay, or become, not finite.
"""

from collections.abc import Callable

import numpy as np

from fedloom.compression import Encoding, EncodingOptions
from fedloom.learning.layout import Array
from fedloom.wire.encodings.scales import BLOCK, block_starts
from fedloom.wire.encodings.topk import count_of
from strategies.base import Matrix

_FLOAT16_MAX = 65504.0


def _float16(vectors: Matrix, options: EncodingOptions) -> None:
    vectors[:] = np.clip(vectors, -_FLOAT16_MAX, _FLOAT16_MAX).astype(np.float16)


def _steps(most: int) -> Callable[[Matrix, EncodingOptions], None]:
    """Of int8 and int4: whole multiples, up to `most`, of a scale for each block."""

    def rounded(vectors: Matrix, options: EncodingOptions) -> None:
        scales: Array = np.maximum.reduceat(np.abs(vectors), block_starts(vectors.shape[1]), axis=1)
        scales /= np.float32(most)
        scales[scales < np.finfo(np.float32).tiny] = 0
        inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
        vectors *= _spread(inverse, vectors)
        np.clip(np.rint(vectors, out=vectors), -most, most, out=vectors)
        vectors += 0.0  # a whole number has no −0
        vectors *= _spread(scales, vectors)

    return rounded


def _sign(vectors: Matrix, options: EncodingOptions) -> None:
    starts = block_starts(vectors.shape[1])
    sums = np.add.reduceat(np.abs(vectors), starts, axis=1, dtype=np.float64)
    scales = (sums / np.minimum(BLOCK, vectors.shape[1] - starts)).astype(np.float32)
    signs = (vectors > 0).astype(np.float32)
    signs *= 2
    signs -= 1
    np.multiply(signs, _spread(scales, vectors), out=vectors)


def _topk(vectors: Matrix, options: EncodingOptions) -> None:
    size = vectors.shape[1]
    count = count_of(size, options.share)
    places = np.argpartition(np.abs(vectors), size - count, axis=1)[:, size - count :]
    places.sort(axis=1)
    values = np.take_along_axis(vectors, places, axis=1)
    means = np.abs(values).mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
    vectors[:] = 0
    np.put_along_axis(vectors, places, np.where(values > 0, means, -means), axis=1)


ROUNDED: dict[Encoding, Callable[[Matrix, EncodingOptions], None]] = {
    "float16": _float16,
    "int8": _steps(127),
    "int4": _steps(7),
    "sign": _sign,
    "topk": _topk,
}
"""Each puts in the place of every row (c, p) what arrives of it."""


def _spread(scales: Array, vectors: Matrix) -> Array:
    """(c, p), the scale of each weight."""
    return np.repeat(scales, BLOCK, axis=1)[:, : vectors.shape[1]]
