"""Signs: a bit a weight, and the mean magnitude of its block of 1,024.

    x ≈ (‖x‖₁ / d) · sign(x), for each block of d weights; the sign of 0 is −

It is biased: without error feedback it may never come near the minimum of even a convex function.

Source: Karimireddy, Rebjock, Stich, Jaggi 2019, "Error feedback fixes SignSGD and other gradient compression schemes",
ICML, arXiv:1901.09847, algorithm 1 (EF-SIGNSGD), in blocks as its section 6 does with layers.

    4·⌈p/1024⌉  scales, little-endian float32
    ⌈p/8⌉       the signs, 1 is +, see `fedloom.wire.encodings.bits`
"""

import numpy as np

from fedloom.compression import EncodingOptions
from fedloom.errors import Reason, Refused
from fedloom.learning.layout import Vector
from fedloom.wire.encodings.bits import pack, packed_bytes, unpack
from fedloom.wire.encodings.scales import BLOCK, block_starts, scales_bytes, spread


def encoded_bytes(size: int, options: EncodingOptions) -> int:
    """The exact length of `size` weights."""
    return _length(size)


def encode(vector: Vector, options: EncodingOptions, seed: int) -> bytes:
    """The bytes of `vector` (p,). Nothing is drawn."""
    starts = block_starts(vector.size)
    scales = np.add.reduceat(np.abs(vector), starts, dtype=np.float64) / np.minimum(BLOCK, vector.size - starts)
    return scales.astype("<f4").tobytes() + pack((vector > 0).astype(np.uint8), 1)


def decode(data: bytes | memoryview, out: Vector) -> None:
    """Write the vector in `data` into `out` (p,); a scale that is not finite gives weights that are not.

    Raises:
        Refused: WRONG_LENGTH, MALFORMED.
    """
    if len(data) != _length(out.size):
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes of signs for {out.size} weights")
    cut = scales_bytes(out.size)
    np.multiply(unpack(memoryview(data)[cut:], out.size, 1), np.float32(2), out=out)
    out -= 1
    out *= spread(np.frombuffer(data[:cut], "<f4"), out.size)


def _length(size: int) -> int:
    return scales_bytes(size) + packed_bytes(size, 1)
