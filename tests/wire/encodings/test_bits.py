"""Bit planes: what goes in comes out, in the bytes that are written down, and spare bits are zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.errors import Reason, Refused
from fedloom.wire.encodings.bits import pack, packed_bytes, unpack


@given(st.integers(0, 27), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_numbers_survive_the_round_trip(bits, count, seed):
    numbers = np.random.default_rng(seed).integers(0, 2**bits, count, dtype=np.uint32)
    data = pack(numbers, bits)
    assert len(data) == packed_bytes(count, bits)
    read = unpack(data, count, bits)
    np.testing.assert_array_equal(read, numbers)
    assert read.itemsize == (1 if bits <= 8 else 4)


def test_the_bytes_are_those_that_the_page_promises():
    # 1, 2, 3 have the low bits 1 0 1 and the high bits 0 1 1
    assert pack(np.array([1, 2, 3], np.uint8), 2) == bytes([0b10100000, 0b01100000])
    assert pack(np.arange(9, dtype=np.uint8) & 1, 1) == bytes([0b01010101, 0])


@pytest.mark.parametrize("byte", [0, 1])
def test_a_spare_bit_that_is_set_is_refused_in_any_plane(byte):
    data = bytearray(pack(np.array([1, 2, 3], np.uint8), 2))
    data[byte] |= 1
    with pytest.raises(Refused) as refusal:
        unpack(data, 3, 2)
    assert refusal.value.reason is Reason.MALFORMED
