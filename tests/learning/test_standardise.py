"""Moments add up; the standardiser centres and scales; impossible moments are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedloom.learning.standardise import MAX_MAGNITUDE, Moments

tables = arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.just(3)),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)


@given(tables, st.integers(0, 30))
def test_parts_add_up_to_the_whole(x, cut):
    total = Moments.of(x[:cut]) + Moments.of(x[cut:])
    whole = Moments.of(x)
    assert total.samples == whole.samples == len(x)
    np.testing.assert_allclose(total.to_vector(), whole.to_vector(), rtol=1e-12, atol=1e-6)
    again = Moments.from_vector(total.to_vector(), 3)
    np.testing.assert_array_equal(again.to_vector(), total.to_vector())


@given(tables)
def test_every_feature_is_scaled_by_something_positive(x):
    standardiser = Moments.of(x).standardiser()
    assert (standardiser.scale > 0).all()
    assert np.isfinite(standardiser.apply(x)).all()


def test_mean_zero_deviation_one_over_blocks(rng):
    x = (rng.normal(size=(5000, 3)) * [0.01, 1.0, 300.0] + [5.0, 0.0, -1e4]).astype(np.float32)
    z = Moments.of(x).standardiser().apply(x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(0, dtype=np.float64), 0.0, atol=1e-4)
    np.testing.assert_allclose(z.std(0, dtype=np.float64), 1.0, atol=1e-4)


@pytest.mark.parametrize("ratio", [1e2, 1e4])
def test_cancellation_stays_within_the_documented_bound(ratio, rng):
    samples = 100_000
    x = (rng.normal(size=(samples, 1)) + ratio).astype(np.float32)
    exact = x.astype(np.float64).std()
    moments = Moments.of(x)
    variance = moments.squares / samples - (moments.total / samples) ** 2
    bound = 1.1e-16 * (1024 + samples / 1024) * (2 + ratio**2)
    assert abs(variance[0] / exact**2 - 1) < bound
    assert moments.standardiser().scale[0] == pytest.approx(exact, rel=bound + 1e-7)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e7, 3e30])
def test_a_constant_feature_keeps_its_scale(value):
    x = np.full((777, 1), value, np.float32)
    standardiser = Moments.of(x).standardiser()
    assert standardiser.scale[0] == 1.0
    assert standardiser.apply(x)[0, 0] == 0.0


counts = st.integers(0, 2**53)
magnitudes = st.one_of(st.just(0.0), st.floats(1e-100, MAX_MAGNITUDE))


@given(st.lists(st.tuples(counts, st.floats(-1.0, 1.0), magnitudes), min_size=1, max_size=4))
def test_whatever_bounded_moments_are_pooled_the_standardiser_is_finite_and_positive(devices):
    total = Moments(0, np.zeros(1), np.zeros(1))
    for count, skew, magnitude in devices:
        vector = np.array([count, skew * count * magnitude, count * magnitude**2])
        total += Moments.from_vector(vector, 1)
        expected = pytest.approx(magnitude if count else 0.0, rel=1e-9)
        assert Moments.from_vector(vector, 1).magnitudes[0] == expected
    if not total.samples:
        return
    standardiser = total.standardiser()
    assert np.isfinite(standardiser.shift).all()
    assert np.finfo(np.float32).tiny <= standardiser.scale[0] <= 1.001 * MAX_MAGNITUDE


def test_a_deviation_below_what_float32_holds_divides_nothing():
    x = np.array([[0.0], [1e-40]], np.float32)
    assert Moments.of(x).standardiser().scale[0] == 1.0


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1.0, 2.0], r"shape \(2,\), expected \(3,\)"),
        ([1.0, np.inf, 1.0], "not finite"),
        ([1.5, 0.0, 1.0], "whole number"),
        ([-1.0, 0.0, 0.0], "whole number"),
        ([2.0, 3.0, -1.0], "no data can have"),
        ([2.0, 3.0, 1.0], "no data can have"),
        ([0.0, 1.0, 1.0], "no data can have"),
        ([0.0, 0.0, 1.0], "no samples"),
    ],
)
def test_impossible_moments_are_refused(vector, message):
    with pytest.raises(ValueError, match=message):
        Moments.from_vector(np.array(vector), 1)


def test_moments_of_different_tables_do_not_add_and_none_have_no_standardiser():
    with pytest.raises(ValueError, match="different numbers of features"):
        Moments.of(np.zeros((1, 2))) + Moments.of(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="no samples"):
        Moments.of(np.zeros((0, 2))).standardiser()
