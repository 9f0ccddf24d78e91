"""Four bits: within half a step, a block does not care for its neighbours, and what no encoder writes is refused."""

import struct

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.compression import options_of
from fedloom.errors import Reason, Refused
from fedloom.wire.encoding import decode, encode, encoded_bytes
from fedloom.wire.encodings.scales import BLOCK

NONE = options_of("int4")
vectors = hnp.arrays(np.float32, st.integers(1, 3000), elements=st.floats(-1e4, 1e4, width=32), fill=st.just(0.5))


def through(vector):
    out = np.full(vector.size, np.nan, np.float32)
    decode(encode(vector, "int4", NONE), "int4", out)
    return out


@given(vectors)
def test_it_is_within_half_a_step_of_its_block(vector):
    error = np.abs(through(vector) - vector)
    for start in range(0, vector.size, BLOCK):
        step = np.abs(vector[start : start + BLOCK]).max() / 7
        assert error[start : start + BLOCK].max() <= 0.50001 * step + 1e-36


@given(st.lists(st.integers(-7, 7), max_size=50), st.integers(-60, 60))
def test_whole_steps_are_exact(steps, power):
    vector = np.array([7, *steps], np.float32) * np.float32(2.0**power)
    np.testing.assert_array_equal(through(vector), vector)


def test_an_example_by_hand():
    """The largest magnitude is 7, so the scale is 1, and the numbers are 14, 4 (−3.4 + 7, rounded) and 7."""
    vector = np.array([7, -3.4, 0], np.float32)
    planes = bytes([0b00100000, 0b10100000, 0b11100000, 0b10000000])
    assert encode(vector, "int4", NONE) == struct.pack("<f", 1.0) + planes
    assert through(vector).tolist() == [7, -3, 0]


def test_a_large_weight_costs_its_own_block_alone():
    vector = np.full(2 * BLOCK, 0.5, np.float32)
    vector[3] = 1e6
    np.testing.assert_allclose(through(vector)[BLOCK:], vector[BLOCK:], rtol=1e-6)
    assert not through(vector)[4:BLOCK].any()


def test_a_block_whose_scale_underflows_is_zeros():
    """Its inverse would be infinite, and infinity times zero is no number."""
    assert through(np.array([1e-38, 0], np.float32)).tolist() == [0, 0]


@pytest.mark.parametrize(("size", "expected"), [(1, 8), (8, 8), (9, 12), (1024, 516), (1025, 524)])
def test_the_length_does_not_depend_on_the_vector(size, expected):
    rng = np.random.default_rng(size)
    lengths = {len(encode(v.astype(np.float32), "int4", NONE)) for v in (np.zeros(size), rng.normal(size=size))}
    assert lengths == {encoded_bytes("int4", size, NONE)} == {expected}


@pytest.mark.parametrize("place", [0, 5, 8])
def test_the_sixteenth_number_is_refused_wherever_it_is(place):
    data = bytearray(encode(np.ones(9, np.float32), "int4", NONE))
    for plane in range(4):
        data[4 + 2 * plane + place // 8] |= 0x80 >> place % 8
    with pytest.raises(Refused, match="a step of more than 7") as refusal:
        decode(data, "int4", np.empty(9, np.float32))
    assert refusal.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("block", [0, 1])
def test_a_scale_that_gives_no_finite_weights_is_refused(scale, block):
    data = bytearray(encode(np.ones(BLOCK + 1, np.float32), "int4", NONE))
    data[4 * block : 4 * block + 4] = struct.pack("<f", scale)
    with pytest.raises(Refused) as refusal:
        decode(data, "int4", np.empty(BLOCK + 1, np.float32))
    assert refusal.value.reason is Reason.NON_FINITE


@pytest.mark.parametrize("scale", [np.nan, np.inf])
def test_it_is_refused_even_where_all_steps_are_zero(scale):
    data = struct.pack("<f", scale) + encode(np.zeros(8, np.float32), "int4", NONE)[4:]
    with pytest.raises(Refused, match="non_finite"):
        decode(data, "int4", np.empty(8, np.float32))
