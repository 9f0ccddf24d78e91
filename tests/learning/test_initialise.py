"""Limits and seeds of initial weights."""

import numpy as np
import pytest

from fedloom.learning.initialise import initial_weights
from fedloom.learning.spec import ModelSpec


@pytest.mark.parametrize(("activation", "hidden_limit"), [("relu", (6 / 100) ** 0.5), ("tanh", (6 / 300) ** 0.5)])
def test_limits_follow_the_activation(activation, hidden_limit):
    spec = ModelSpec(inputs=100, outputs=10, hidden=(200,), activation=activation)
    weights = initial_weights(spec, np.random.default_rng(0))
    assert weights.dtype == np.float32
    first, first_bias, last, last_bias = spec.layout().views(weights)
    for matrix, limit in ((first, hidden_limit), (last, (6 / 210) ** 0.5)):
        assert 0.98 * limit < np.abs(matrix).max() <= limit
        assert abs(matrix.mean()) < 0.1 * limit
    assert not first_bias.any()
    assert not last_bias.any()


def test_the_seed_decides():
    spec = ModelSpec(inputs=3, outputs=2)
    one, same, other = (initial_weights(spec, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
