"""Norm clipping, by hand, as a rule and as a pre-step."""

import numpy as np
from directions import direction

ROWS = [[3, 4], [0, 1], [0, -2]]


def test_each_is_as_long_as_allowed_at_most():
    # [0.6, 0.8], [0, 1], [0, −1]
    np.testing.assert_allclose(direction("norm_clipping", ROWS, max_norm=1.0), [0.2, 0.8 / 3], rtol=1e-6)


def test_that_is_the_median_where_it_is_not_set():
    # 2: [1.2, 1.6], [0, 1], [0, −2]
    np.testing.assert_allclose(direction("norm_clipping", ROWS), [0.4, 0.2], rtol=1e-6)


def test_before_another_rule_its_weights_stay():
    # samples 1, 2, 3
    wanted = np.array([0.6, 0.8 + 2 * 1 - 3 * 1]) / 6
    np.testing.assert_allclose(direction("fedavg", ROWS, ("clip_norm",), max_norm=1.0), wanted, rtol=1e-6)


def test_a_round_in_which_most_have_learnt_nothing_learns_nothing():
    assert not direction("norm_clipping", [[0, 0], [0, 0], [5, 5]]).any()
