"""Every sample is on exactly one side, and in exactly one fold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.learning.splits import hold_out, k_fold


@given(st.integers(0, 200), st.floats(0.0, 0.99), st.integers(0, 9))
def test_a_hold_out_splits_all_samples(samples, fraction, seed):
    train, held = hold_out(samples, fraction, np.random.default_rng(seed))
    assert len(held) == int(samples * fraction)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(samples))
    again, _ = hold_out(samples, fraction, np.random.default_rng(seed))
    np.testing.assert_array_equal(train, again)


@given(st.integers(2, 60), st.data())
def test_every_sample_is_validated_once(samples, data):
    folds = data.draw(st.integers(2, samples))
    parts = list(k_fold(samples, folds, np.random.default_rng(0)))
    assert len(parts) == folds
    np.testing.assert_array_equal(np.sort(np.concatenate([held for _, held in parts])), np.arange(samples))
    for train, held in parts:
        assert len(train) + len(held) == samples
        assert not set(train) & set(held)
        assert samples // folds <= len(held) <= samples // folds + 1


def test_impossible_splits_are_refused(rng):
    with pytest.raises(ValueError, match="cannot be held out"):
        hold_out(10, 1.0, rng)
    with pytest.raises(ValueError, match="11 folds of 10 samples"):
        k_fold(10, 11, rng)
