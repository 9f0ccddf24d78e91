"""Four bits a weight: w ≈ the scale of its block of 1,024 × a step from −7 to 7, the nearest.

Nothing is rotated, sorted or drawn: cheap even for a slow processor.

    4·⌈p/1024⌉  scales, little-endian float32: the largest magnitude of a block / 7
    4·⌈p/8⌉     step + 7 of each weight, four bits, see `fedloom.wire.encodings.bits`
"""

import numpy as np

from fedloom.compression import EncodingOptions
from fedloom.errors import Reason, Refused
from fedloom.learning.layout import Vector
from fedloom.wire.encodings.bits import pack, packed_bytes, unpack
from fedloom.wire.encodings.scales import block_starts, scales_bytes, spread

_BITS = 4
_MOST = 7


def encoded_bytes(size: int, options: EncodingOptions) -> int:
    """The exact length of `size` weights."""
    return _length(size)


def encode(vector: Vector, options: EncodingOptions, seed: int) -> bytes:
    """The bytes of `vector` (p,). Nothing is drawn."""
    scales = np.maximum.reduceat(np.abs(vector), block_starts(vector.size)) / np.float32(_MOST)
    # A block whose scale underflows is sent as zeros; its values stay in the error feedback.
    scales[scales < np.finfo(np.float32).tiny] = 0
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    steps = np.clip(np.rint(vector * spread(inverse, vector.size)), -_MOST, _MOST)
    return scales.astype("<f4").tobytes() + pack((steps + _MOST).astype(np.uint8), _BITS)


def decode(data: bytes | memoryview, out: Vector) -> None:
    """Write the vector in `data` into `out` (p,); a scale that is not finite gives weights that are not.

    Raises:
        Refused: WRONG_LENGTH, MALFORMED.
    """
    if len(data) != _length(out.size):
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes of int4 for {out.size} weights")
    cut = scales_bytes(out.size)
    numbers = unpack(memoryview(data)[cut:], out.size, _BITS)
    if numbers.max() > 2 * _MOST:
        raise Refused(Reason.MALFORMED, f"a step of more than {_MOST}")
    np.subtract(numbers, np.float32(_MOST), out=out)
    out *= spread(np.frombuffer(data[:cut], "<f4"), out.size)


def _length(size: int) -> int:
    return scales_bytes(size) + packed_bytes(size, _BITS)
