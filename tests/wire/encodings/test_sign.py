"""Signs: the mean magnitude and the error of the paper, its example that needs error feedback, and refusals."""

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

NONE = options_of("sign")
vectors = hnp.arrays(np.float32, st.integers(1, 3000), elements=st.floats(-1e4, 1e4, width=32), fill=st.just(0.5))


def through(vector):
    out = np.full(vector.size, np.nan, np.float32)
    decode(encode(vector, "sign", NONE), "sign", out)
    return out


@given(vectors)
def test_each_block_is_its_mean_magnitude_with_signs(vector):
    decoded = through(vector)
    for start in range(0, vector.size, BLOCK):
        block = vector[start : start + BLOCK].astype(np.float64)
        expected = np.where(block > 0, 1, -1) * np.abs(block).mean()
        np.testing.assert_allclose(decoded[start : start + BLOCK], expected, rtol=1e-6, atol=1e-44)


@given(st.integers(1, BLOCK), st.integers(0, 2**32 - 1))
def test_the_error_is_that_of_the_paper(size, seed):
    """‖x − C(x)‖² = (1 − ‖x‖₁² / (d·‖x‖²)) · ‖x‖², of which the paper calls the fraction the density of x."""
    vector = np.random.default_rng(seed).normal(size=size)
    error = np.sum((through(vector.astype(np.float32)) - vector) ** 2)
    squares = vector @ vector
    assert error == pytest.approx(squares - np.abs(vector).sum() ** 2 / size, rel=1e-4, abs=1e-6 * squares)


def test_feedback_reaches_a_minimum_that_signs_alone_never_near():
    """A counterexample of arXiv:1901.09847, section 3: f(x) = |x₁ + x₂|/2 + |x₁ − x₂|; signs are ±(1, −1)."""

    def descend(has_feedback):
        x, residual = np.array([1.0, 1.5], np.float32), np.zeros(2, np.float32)
        for number in range(2000):
            gradient = 0.5 * np.sign(x.sum()) + (1 if x[0] > x[1] else -1) * np.array([1, -1])
            meant = (0.1 / (1 + number / 50) * gradient).astype(np.float32) + residual
            sent = through(meant)
            residual = meant - sent if has_feedback else residual
            x -= sent
        return abs(float(x.sum())) / 2 + abs(float(x[0] - x[1]))

    assert descend(has_feedback=False) > 1.0
    assert descend(has_feedback=True) < 0.05


def test_an_example_by_hand():
    """Magnitudes 1, 2, 0, 3, 4 have the mean 2; the sign of zero is −."""
    vector = np.array([1, -2, 0, 3, -4], np.float32)
    assert encode(vector, "sign", NONE) == struct.pack("<f", 2.0) + bytes([0b10010000])
    assert through(vector).tolist() == [2, -2, -2, 2, -2]


@pytest.mark.parametrize(("size", "expected"), [(1, 5), (8, 5), (9, 6), (1024, 132), (1025, 137)])
def test_the_length_does_not_depend_on_the_vector(size, expected):
    rng = np.random.default_rng(size)
    lengths = {len(encode(v.astype(np.float32), "sign", NONE)) for v in (np.zeros(size), rng.normal(size=size))}
    assert lengths == {encoded_bytes("sign", size, NONE)} == {expected}


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("block", [0, 1])
def test_a_scale_that_is_not_finite_is_refused(scale, block):
    data = bytearray(encode(np.ones(BLOCK + 1, np.float32), "sign", NONE))
    data[4 * block : 4 * block + 4] = struct.pack("<f", scale)
    with pytest.raises(Refused) as refusal:
        decode(data, "sign", np.empty(BLOCK + 1, np.float32))
    assert refusal.value.reason is Reason.NON_FINITE


def test_a_bit_behind_the_last_sign_is_refused():
    data = bytearray(encode(np.ones(5, np.float32), "sign", NONE))
    data[-1] |= 1
    with pytest.raises(Refused) as refusal:
        decode(data, "sign", np.empty(5, np.float32))
    assert refusal.value.reason is Reason.MALFORMED
