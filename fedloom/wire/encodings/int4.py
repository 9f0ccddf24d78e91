"""Four bits a weight: w ≈ the scale of its block of 1,024 × a step from −7 to 7.

4·⌈p/1024⌉  scales, little-endian float32: the largest magnitude of a block / 7
…           step + 7 of each weight, four bits, see `fedloom.wire.encodings.bits`
"""

import numpy as np

from fedloom.compression import EncodingOptions
from fedloom.errors import Reason, Refused
from fedloom.learning.layout import Vector
from fedloom.wire.encodings.bits import pack, packed_bytes, unpack

BLOCK = 1024
_MOST = 7


def encoded_bytes(size: int, options: EncodingOptions) -> int:
    """The exact length of `size` weights."""
    return 4 * -(-size // BLOCK) + packed_bytes(size, 4)


def encode(vector: Vector, options: EncodingOptions, seed: int) -> bytes:
    """The bytes of `vector` (p,)."""
    scales = np.maximum.reduceat(np.abs(vector), np.arange(0, vector.size, BLOCK)) / np.float32(_MOST)
    scales[scales < np.finfo(np.float32).tiny] = 0
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    steps = np.rint(vector * np.repeat(inverse, BLOCK)[: vector.size])
    return scales.astype("<f4").tobytes() + pack((np.clip(steps, -_MOST, _MOST) + _MOST).astype(np.uint8), 4)


def decode(data: bytes | memoryview, out: Vector) -> None:
    """Write the vector in `data` into `out` (p,).

    Raises:
        Refused: WRONG_LENGTH, MALFORMED.
    """
    if len(data) != encoded_bytes(out.size, EncodingOptions()):
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes of int4 for {out.size} weights")
    count = -(-out.size // BLOCK)
    scales = np.frombuffer(data, "<f4", count)
    numbers = unpack(memoryview(data)[4 * count :], out.size, 4)
    if numbers.max() > 2 * _MOST:
        raise Refused(Reason.MALFORMED, f"a step of more than {_MOST}")
    out[:] = numbers
    out -= _MOST
    out *= np.repeat(scales, BLOCK)[: out.size]
