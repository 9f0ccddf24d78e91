"""Top-k: only the k weights of the largest magnitude are sent; the device's error feedback keeps the others.

    k = ⌈share · p⌉;   with one bit a value x ≈ ±μ, μ the mean of the k magnitudes;   with b > 1 bits x ≈ s · step,
    s = the largest magnitude / (2^(b−1) − 1)

Source: Stich, Cordonnier, Jaggi 2018, "Sparsified SGD with memory", NeurIPS, arXiv:1809.07599, definition 2.1 and
algorithm 1; one bit a value as in sparse ternary compression: Sattler, Wiedemann, Müller, Samek 2019, "Robust and
communication-efficient federated learning from non-IID data", arXiv:1903.02891, algorithm 1.

    1   b
    4   k, little-endian
    4   μ or s, little-endian float32
    …   the k indices, rising, see `fedloom.wire.encodings.sparse`
    …   k values of b bits, see `fedloom.wire.encodings.bits`: 1 is + where b is 1, else step + 2^(b−1) − 1
"""

import math
import struct

import numpy as np

from fedloom.compression import EncodingOptions
from fedloom.errors import Reason, Refused
from fedloom.learning.layout import Vector
from fedloom.wire.encodings.bits import Numbers, pack, packed_bytes, unpack
from fedloom.wire.encodings.sparse import indices_bytes, read_indices, write_indices

_HEAD = struct.Struct("<BIf")
_MAX_BITS = 8


def count_of(size: int, share: float) -> int:
    """k, at least one and at most all.

    >>> count_of(1000, 0.01), count_of(3, 0.01), count_of(3, 1.0)
    (10, 1, 3)
    """
    return min(size, max(1, math.ceil(share * size - 1e-9)))


def encoded_bytes(size: int, options: EncodingOptions) -> int:
    """The exact length of `size` weights."""
    return _length(count_of(size, options.share), size, options.bits)


def encode(vector: Vector, options: EncodingOptions, seed: int) -> bytes:
    """The bytes of `vector` (p,); of equal magnitudes any may be sent."""
    count, bits = count_of(vector.size, options.share), options.bits
    chosen = np.argpartition(np.abs(vector), vector.size - count)[vector.size - count :]
    chosen.sort()
    scale, numbers = _quantise(vector[chosen], bits)
    head = _HEAD.pack(bits, count, scale)
    return head + write_indices(chosen, vector.size) + pack(numbers, bits)


def decode(data: bytes | memoryview, out: Vector) -> None:
    """Write the vector in `data` into `out` (p,).

    Raises:
        Refused: WRONG_LENGTH, NON_FINITE or MALFORMED.
    """
    if len(data) < _HEAD.size:
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes")
    bits, count, scale = _HEAD.unpack_from(data)
    if not 1 <= bits <= _MAX_BITS or not 1 <= count <= out.size:
        raise Refused(Reason.MALFORMED, f"{count} values of {bits} bits for {out.size} weights")
    if len(data) != _length(count, out.size, bits):
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes for {count} values of {bits} bits")
    body = memoryview(data)[_HEAD.size :]
    cut = indices_bytes(count, out.size)
    indices = read_indices(body[:cut], count, out.size)
    numbers = unpack(body[cut:], count, bits)
    out[:] = 0
    out[indices] = np.float32(scale) * _steps(numbers, bits)


def _length(count: int, size: int, bits: int) -> int:
    return _HEAD.size + indices_bytes(count, size) + packed_bytes(count, bits)


def _quantise(values: Vector, bits: int) -> tuple[np.float32, Numbers]:
    """Scale, and the number of each value."""
    magnitudes = np.abs(values)
    if bits == 1:
        return magnitudes.mean(), (values > 0).astype(np.uint8)
    most = _most(bits)
    scale = np.float32(magnitudes.max() / most)
    if not scale >= np.finfo(np.float32).tiny:  # it underflows, or is no number: the receiver refuses that
        return scale * 0, np.full(values.size, most, np.uint8)
    return scale, (np.clip(np.rint(values / scale), -most, most) + most).astype(np.uint8)


def _steps(numbers: Numbers, bits: int) -> Vector:
    """What the scale is to be multiplied with."""
    if bits == 1:
        return np.float32(2) * numbers - np.float32(1)
    most = _most(bits)
    if numbers.max() > 2 * most:
        raise Refused(Reason.MALFORMED, f"a step of more than {most}")
    return numbers.astype(np.float32) - np.float32(most)


def _most(bits: int) -> int:
    """The largest step."""
    return (1 << (bits - 1)) - 1
