"""EDEN: each block is rotated at random, after which its coordinates are nearly normal, and each is rounded to b bits.

    x ≈ S · R⁻¹ q,   R = H_d D / √d,   q = Q(√d · R x / ‖x‖),   S = ‖x‖² / ⟨R x, q⟩

D flips signs, H_d is a Hadamard matrix, and Q rounds to the 2^b centroids that are best for a normal distribution
(Lloyd 1982, Max 1960). With this S the mean over all rotations is x itself (exactly so for uniform ones, closely for
these); the mean squared error is ‖x‖² times 0.571, 0.133, 0.0358, 0.0096 for 1 to 4 bits.

Source: Vargaftik, Ben Basat, Portnoy, Mendelson, Ben-Itzhak, Mitzenmacher 2022, "EDEN: communication-efficient and
robust distributed mean estimation for federated learning", ICML, arXiv:2108.08842, algorithm 1. With one bit it is
DRIVE (Vargaftik et al. 2021, NeurIPS, arXiv:2105.08339).

    1    b
    4    seed of D, little-endian: bit i of SHAKE-128("fedloom/1/eden" || seed) flips weight i, highest bit first
    4·n  S of each of the n blocks, see `fedloom.wire.encodings.hadamard`; little-endian float32
    …    p centroids, the lowest is 0, of b bits each, see `fedloom.wire.encodings.bits`
"""

import math
import struct
from hashlib import shake_128
from typing import NamedTuple

import numpy as np

from fedloom.compression import EncodingOptions
from fedloom.errors import Reason, Refused
from fedloom.learning.layout import Vector
from fedloom.wire.encodings.bits import Numbers, pack, packed_bytes, unpack
from fedloom.wire.encodings.hadamard import block_sizes, blocks, transform

_HEAD = struct.Struct("<BI")
_POSITIVE = {
    1: (0.797884561,),
    2: (0.452780035, 1.51041761),
    3: (0.245094179, 0.756005281, 1.34390928, 2.1519457),
    4: (0.12839503, 0.388048299, 0.656759119, 0.942340456, 1.2562312, 1.61804639, 2.06901723, 2.73258957),
}
"""Half of the centroids; the others are their negatives."""


class _Quantiser(NamedTuple):
    centroids: Vector
    """(2^b,), rising."""
    edges: Vector
    """(2^b − 1,), half-way between them."""


def _quantiser(positive: tuple[float, ...]) -> _Quantiser:
    centroids = np.array([-value for value in reversed(positive)] + list(positive), np.float32)
    return _Quantiser(centroids, (centroids[1:] + centroids[:-1]) / np.float32(2))


_QUANTISERS = {bits: _quantiser(positive) for bits, positive in _POSITIVE.items()}


def encoded_bytes(size: int, options: EncodingOptions) -> int:
    """The exact length of `size` weights."""
    return _length(size, options.bits)


def encode(vector: Vector, options: EncodingOptions, seed: int) -> bytes:
    """The bytes of `vector` (p,); the lowest 32 bits of `seed` draw the rotation.

    Raises:
        ValueError: there is no such number of bits.
    """
    bits, seed = options.bits, seed & 0xFFFFFFFF
    if bits not in _QUANTISERS:
        raise ValueError(f"eden with {bits} bits")
    rotated = vector * _signs(seed, vector.size)
    numbers, scales = np.empty(vector.size, np.uint8), []
    for block, its_numbers in zip(blocks(rotated), blocks(numbers), strict=True):
        transform(block)
        scales.append(_round(block, _QUANTISERS[bits], its_numbers))
    return _HEAD.pack(bits, seed) + np.array(scales, "<f4").tobytes() + pack(numbers, bits)


def decode(data: bytes | memoryview, out: Vector) -> None:
    """Write the vector in `data` into `out` (p,).

    Raises:
        Refused: WRONG_LENGTH, MALFORMED.
    """
    if len(data) < _HEAD.size:
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes")
    bits, seed = _HEAD.unpack_from(data)
    if bits not in _QUANTISERS:
        raise Refused(Reason.MALFORMED, f"{bits} bits a weight")
    if len(data) != _length(out.size, bits):
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes for {out.size} weights of {bits} bits")
    count = len(block_sizes(out.size))
    scales = np.frombuffer(data, "<f4", count, _HEAD.size)
    numbers = unpack(memoryview(data)[_HEAD.size + 4 * count :], out.size, bits)
    for block, its_numbers, scale in zip(blocks(out), blocks(numbers), scales, strict=True):
        np.multiply(_QUANTISERS[bits].centroids[its_numbers], scale, out=block)
        transform(block)
    out *= _signs(seed, out.size)


def _length(size: int, bits: int) -> int:
    return _HEAD.size + 4 * len(block_sizes(size)) + packed_bytes(size, bits)


def _signs(seed: int, size: int) -> Vector:
    """D's diagonal (p,): −1 where the bit is set."""
    stream = shake_128(b"fedloom/1/eden" + seed.to_bytes(4, "little")).digest(-(-size // 8))
    signs = np.unpackbits(np.frombuffer(stream, np.uint8), count=size).astype(np.float32)
    signs *= -2
    signs += 1
    return signs


def _round(block: Vector, quantiser: _Quantiser, numbers: Numbers) -> float:
    """Fill `numbers` (d,) with the centroids nearest to a rotated block, and return S."""
    exact = block.astype(np.float64)  # whose squares neither overflow nor vanish
    squares = float(exact @ exact)
    deviation = np.float32(math.sqrt(squares / block.size))
    numbers[:] = np.searchsorted(quantiser.edges * deviation, block)
    return squares / float(exact @ quantiser.centroids[numbers]) if squares else 0.0
