"""A set of k indices below p in about 2 + log₂(p/k) bits each, of a length that says nothing of what they are.

The low r bits of each index lie in bit planes; the high ones are a bit field in which the index number i, counted
from 0, sets bit (index >> r) + i. Both are as long for any k indices, so that a message's length does not depend on
what is in it.

Source: Elias 1974, "Efficient storage and retrieval by content and address of static files", J. ACM 21(2),
doi:10.1145/321812.321820; Fano 1971; the choice of r as in Vigna 2013, arXiv:1206.4300.
"""

import numpy as np
from numpy.typing import NDArray

from fedloom.errors import Reason, Refused
from fedloom.wire.encodings.bits import pack, packed_bytes, unpack

Indices = NDArray[np.int64]
"""(k,), rising."""


def low_bits(count: int, size: int) -> int:
    """r, for `count` of `size` indices.

    >>> low_bits(10, 1000), low_bits(900, 1000)
    (6, 0)
    """
    return (size // count).bit_length() - 1


def indices_bytes(count: int, size: int) -> int:
    """The exact length of `count` indices below `size`; `count` is from 1 to `size`."""
    low = low_bits(count, size)
    return packed_bytes(count, low) + packed_bytes(_high_bits(count, size, low), 1)


def write_indices(indices: Indices, size: int) -> bytes:
    """The bytes of (k,) rising `indices` below `size`."""
    low = low_bits(len(indices), size)
    field = np.zeros(_high_bits(len(indices), size, low), np.uint8)
    field[(indices >> low) + np.arange(len(indices))] = 1
    return pack((indices & ((1 << low) - 1)).astype(np.uint32), low) + pack(field, 1)


def read_indices(data: bytes | memoryview, count: int, size: int) -> Indices:
    """The indices in `data`, whose length is `indices_bytes(count, size)`.

    Raises:
        Refused: MALFORMED, they are not so many, not rising, or out of range.
    """
    low = low_bits(count, size)
    cut = packed_bytes(count, low)
    places = np.flatnonzero(unpack(data[cut:], _high_bits(count, size, low), 1))
    if len(places) != count:
        raise Refused(Reason.MALFORMED, f"{len(places)} indices, {count} expected")
    indices: Indices = (places - np.arange(count) << low) | unpack(data[:cut], count, low)
    if (indices[1:] <= indices[:-1]).any():
        raise Refused(Reason.MALFORMED, "an index comes twice, or before a smaller one")
    if indices[-1] >= size:
        raise Refused(Reason.MALFORMED, f"index {indices[-1]} of {size} weights")
    return indices


def _high_bits(count: int, size: int, low: int) -> int:
    """Bits of the field: one for each index, and one for each step of the high part up to its largest value."""
    return count + ((size - 1) >> low)
