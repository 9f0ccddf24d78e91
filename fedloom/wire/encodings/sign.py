"""Signs: a bit a weight, and the mean magnitude of its block of 1,024.

    x ≈ (‖x‖₁ / d) · sign(x)

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

BLOCK = 1024


def encoded_bytes(size: int, options: EncodingOptions) -> int:
    """The exact length of `size` weights."""
    return 4 * -(-size // BLOCK) + packed_bytes(size, 1)


def encode(vector: Vector, options: EncodingOptions, seed: int) -> bytes:
    """The bytes of `vector` (p,)."""
    starts = np.arange(0, vector.size, BLOCK)
    sizes = np.minimum(BLOCK, vector.size - starts)
    scales = np.add.reduceat(np.abs(vector), starts, dtype=np.float64) / sizes
    return scales.astype("<f4").tobytes() + pack((vector > 0).astype(np.uint8), 1)


def decode(data: bytes | memoryview, out: Vector) -> None:
    """Write the vector in `data` into `out` (p,).

    Raises:
        Refused: WRONG_LENGTH, MALFORMED.
    """
    if len(data) != encoded_bytes(out.size, EncodingOptions()):
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes of signs for {out.size} weights")
    count = -(-out.size // BLOCK)
    scales = np.frombuffer(data, "<f4", count)
    np.multiply(unpack(memoryview(data)[4 * count :], out.size, 1), np.float32(2), out=out)
    out -= 1
    out *= np.repeat(scales, BLOCK)[: out.size]
