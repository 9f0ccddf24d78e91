"""Numbers of a few bits as bit planes: the lowest bit of all, then the next one of all, eight a byte."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.errors import Reason, Refused

Numbers = NDArray[np.unsignedinteger[Any]]
"""(n,), each below 2 to the number of bits; eight bits of memory each where that is enough, else 32."""


def packed_bytes(count: int, bits: int) -> int:
    """The exact length of so many numbers.

    >>> packed_bytes(9, 1), packed_bytes(9, 3)
    (2, 6)
    """
    return bits * -(-count // 8)


def pack(numbers: Numbers, bits: int) -> bytes:
    """The bytes of `numbers`; the first is the highest bit of a plane's first byte, spare bits are zero.

    >>> pack(np.array([1, 2, 3], np.uint8), 2).hex()
    'a060'
    """
    return b"".join(np.packbits(numbers >> plane & 1 != 0).tobytes() for plane in range(bits))


def unpack(data: bytes | memoryview, count: int, bits: int) -> Numbers:
    """The numbers in `data`, whose length is `packed_bytes(count, bits)`.

    Raises:
        Refused: MALFORMED, a spare bit is set.
    """
    planes = np.frombuffer(data, np.uint8).reshape(bits, packed_bytes(count, 1))
    if count % 8 and (planes[:, -1] & (0xFF >> count % 8)).any():
        raise Refused(Reason.MALFORMED, "a bit behind the last number is set")
    numbers: Numbers = np.zeros(count, np.uint8 if bits <= 8 else np.uint32)
    for number, plane in enumerate(planes):
        numbers |= np.unpackbits(plane, count=count).astype(numbers.dtype, copy=False) << number
    return numbers
