"""Index sets: exact, of a length that says nothing, near the least that is possible; what is no such set is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.errors import Reason, Refused
from fedloom.wire.encodings.bits import pack, packed_bytes
from fedloom.wire.encodings.sparse import indices_bytes, low_bits, read_indices, write_indices

sets = st.integers(1, 3000).flatmap(
    lambda size: st.tuples(st.sets(st.integers(0, size - 1), min_size=1, max_size=200), st.just(size))
)


@given(sets)
def test_any_set_survives_and_its_length_depends_on_its_size_alone(case):
    indices, size = np.array(sorted(case[0])), case[1]
    data = write_indices(indices, size)
    assert len(data) == indices_bytes(len(indices), size)
    np.testing.assert_array_equal(read_indices(data, len(indices), size), indices)


@pytest.mark.parametrize("count", [1, 7, 64, 100, 999, 1000])
def test_the_extreme_sets_fit(count):
    for indices in (np.arange(count), np.arange(1000 - count, 1000)):
        np.testing.assert_array_equal(read_indices(write_indices(indices, 1000), count, 1000), indices)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.1, 0.3])
def test_an_index_costs_little_more_than_its_information(share):
    """log₂ of the number of sets is the least; Elias and Fano need less than a bit more an index."""
    size, count = 100_000, round(share * 100_000)
    least = (math.lgamma(size + 1) - math.lgamma(count + 1) - math.lgamma(size - count + 1)) / math.log(2)
    assert 8 * indices_bytes(count, size) <= least + 0.75 * count + 8 * (low_bits(count, size) + 1)


def test_an_example_by_hand():
    """3 of 16: r = ⌊log₂ 5.3⌋ = 2. 1, 6, 7 have low parts 01, 10, 11, high parts 0, 1, 1: bits 0, 2, 3 of 3 + 3."""
    assert low_bits(3, 16) == 2
    assert write_indices(np.array([1, 6, 7]), 16) == bytes([0b10100000, 0b01100000, 0b10110000])


def forged(lows, places, count, size):
    """Any low parts, and any bits of the field."""
    low = low_bits(count, size)
    field = np.zeros(8 * (indices_bytes(count, size) - packed_bytes(count, low)), np.uint8)
    field[places] = 1
    return pack(np.array(lows, np.uint32), low) + np.packbits(field).tobytes()


@pytest.mark.parametrize(
    ("lows", "places", "why"),
    [
        ([1, 2, 2], [0, 2, 3], "twice"),
        ([1, 3, 2], [0, 2, 3], "before a smaller one"),
        ([1, 2, 3], [0, 2], "2 indices, 3 expected"),
        ([1, 2, 3], [0, 2, 3, 4], "4 indices, 3 expected"),
        ([1, 2, 3], [0, 2, 7], "behind the last"),
    ],
)
def test_what_is_no_set_of_so_many_is_refused(lows, places, why):
    with pytest.raises(Refused, match=why) as refusal:
        read_indices(forged(lows, places, 3, 16), 3, 16)
    assert refusal.value.reason is Reason.MALFORMED


def test_an_index_out_of_range_is_refused():
    """Of 14, the high part of the largest may be 3, and 3 · 4 + 2 is 14."""
    assert read_indices(forged([0, 0, 1], [0, 2, 5], 3, 14), 3, 14).tolist() == [0, 4, 13]
    with pytest.raises(Refused, match="index 14 of 14 weights"):
        read_indices(forged([0, 0, 2], [0, 2, 5], 3, 14), 3, 14)


@given(st.binary(max_size=40), st.integers(1, 20), st.integers(1, 60))
def test_any_bytes_are_a_set_or_refused_and_each_set_has_one_spelling(data, count, size):
    count = min(count, size)
    length = indices_bytes(count, size)
    data = data[:length].ljust(length, b"\0")
    try:
        indices = read_indices(data, count, size)
    except Refused:
        return
    assert write_indices(indices, size) == data
