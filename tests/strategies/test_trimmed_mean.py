"""Coordinate-wise median and trimmed mean, by hand."""

import numpy as np
import pytest
from directions import direction, normal

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import create

ODD = [[1, 50], [2, -9], [90, 4]]


def test_the_median_is_of_each_weight_by_itself():
    np.testing.assert_array_equal(direction("median", ODD), np.array([2, 4], np.float32))


def test_of_an_even_number_it_is_between_the_middle_two():
    np.testing.assert_array_equal(direction("median", [*ODD, [3, 5]]), np.array([2.5, 4.5], np.float32))


def test_the_extremes_of_each_weight_are_taken_away():
    # 1 2 3 90 → (2 + 3) / 2; −9 4 5 50 → (4 + 5) / 2
    np.testing.assert_array_equal(direction("trimmed_mean", [*ODD, [3, 5]], f=1), np.array([2.5, 4.5], np.float32))


def test_a_share_is_rounded_down():
    rows = [[0.0], [1.0], [2.0], [3.0], [100.0]]
    assert direction("trimmed_mean", rows, beta=0.19)[0] == np.float32(21.2)
    assert direction("trimmed_mean", rows, beta=0.2)[0] == 2.0


def test_the_share_is_three_in_ten_where_nothing_is_said():
    rows = normal(1, 20)
    assert direction("trimmed_mean", rows).tobytes() == direction("trimmed_mean", rows, beta=0.3).tobytes()


def test_a_number_of_attackers_beside_a_share_is_refused():
    with pytest.raises(
        ConfigError, match=r"strategy\.options: f = 0 and beta = 0\.2 say the same.*leave one of them out"
    ):
        create(StrategyChoice("trimmed_mean", {"f": 0, "beta": 0.2}), "job.toml")
