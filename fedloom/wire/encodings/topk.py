"""Top-k, ternary: only the k weights of the largest magnitude are sent, as their signs and one mean magnitude.

    x ≈ μ · sign(x) at the k places, 0 elsewhere;   k = ⌈share · p⌉,  μ = the mean of the k magnitudes

What is not sent now the device's error feedback sends later: without it this encoding is biased, and loses much.

Source: sparse ternary compression, Sattler, Wiedemann, Müller, Samek 2019, "Robust and communication-efficient
federated learning from non-IID data", arXiv:1903.02891, algorithm 1; its convergence with error feedback: Stich,
Cordonnier, Jaggi 2018, "Sparsified SGD with memory", NeurIPS, arXiv:1809.07599.

    4   k, little-endian
    4   μ, little-endian float32
    …   the k places, see `fedloom.wire.encodings.sparse`
    …   a bit for each, 1 is +, see `fedloom.wire.encodings.bits`
"""

import math
import struct

import numpy as np

from fedloom.compression import EncodingOptions
from fedloom.errors import Reason, Refused
from fedloom.learning.layout import Vector
from fedloom.wire.encodings.bits import pack, packed_bytes, unpack
from fedloom.wire.encodings.sparse import indices_bytes, read_indices, write_indices

_HEAD = struct.Struct("<If")


def count_of(size: int, share: float) -> int:
    """k, at least one and at most all.

    >>> count_of(1000, 0.01), count_of(3, 0.01), count_of(3, 1.0)
    (10, 1, 3)
    """
    return min(size, max(1, math.ceil(share * size - 1e-9)))


def encoded_bytes(size: int, options: EncodingOptions) -> int:
    """The exact length of `size` weights."""
    return _length(count_of(size, options.share), size)


def encode(vector: Vector, options: EncodingOptions, seed: int) -> bytes:
    """The bytes of `vector` (p,); of equal magnitudes any may be sent. Nothing is drawn."""
    count = count_of(vector.size, options.share)
    places = np.argpartition(np.abs(vector), vector.size - count)[vector.size - count :]
    places.sort()
    values = vector[places]
    mean = np.abs(values).mean(dtype=np.float64).astype(np.float32)
    return _HEAD.pack(count, mean) + write_indices(places, vector.size) + pack((values > 0).astype(np.uint8), 1)


def decode(data: bytes | memoryview, out: Vector) -> None:
    """Write the vector in `data` into `out` (p,).

    Raises:
        Refused: WRONG_LENGTH or MALFORMED.
    """
    if len(data) < _HEAD.size:
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes")
    count, mean = _HEAD.unpack_from(data)
    if not 1 <= count <= out.size:
        raise Refused(Reason.MALFORMED, f"{count} of {out.size} weights")
    if len(data) != _length(count, out.size):
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes for {count} of {out.size} weights")
    body, cut = memoryview(data)[_HEAD.size :], indices_bytes(count, out.size)
    places = read_indices(body[:cut], count, out.size)
    out[:] = 0
    out[places] = np.where(unpack(body[cut:], count, 1), np.float32(mean), np.float32(-mean))


def _length(count: int, size: int) -> int:
    return _HEAD.size + indices_bytes(count, size) + packed_bytes(count, 1)
