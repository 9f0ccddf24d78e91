"""The geometric median, where it is known."""

import numpy as np
import pytest
from directions import direction, normal

EXACT = {"iterations": 1000, "tolerance": 1e-9}


def test_on_a_line_it_is_the_median():
    assert direction("geometric_median", [[1], [2], [70]], **EXACT)[0] == pytest.approx(2, abs=1e-3)


def test_of_a_triangle_it_is_the_point_from_which_all_sides_look_equally_long():
    # Fermat's point of an equilateral triangle is its centre
    corners = [[0, 0], [6, 0], [3, 3 * np.sqrt(3)]]
    np.testing.assert_allclose(direction("geometric_median", corners, **EXACT), [3, np.sqrt(3)], atol=1e-3)


def test_in_a_square_it_is_where_the_diagonals_cross():
    square = [[0, 0], [5, 5], [8, 0], [0, 8]]
    np.testing.assert_allclose(direction("geometric_median", square, **EXACT), [4, 4], atol=1e-3)


def test_fewer_than_half_drag_it_no_distance_however_far_they_are():
    honest = normal(3, 6)
    for far in (1e3, 1e6, 1e15):
        rows = np.concatenate((honest, np.full((4, 6), far, np.float32)))
        assert np.linalg.norm(direction("geometric_median", rows)) < 4 * np.linalg.norm(honest, axis=1).max()


def test_one_that_has_not_trained_does_not_hold_it_where_it_is():
    rows = np.concatenate((np.zeros((1, 6)), 1 + normal(3, 6) / 10))
    assert direction("geometric_median", rows) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_smoothing_is_a_share_of_the_median_distance(scale):
    rows = np.array([[-2], [0], [1], [4], [9]], np.float32)
    found = direction("geometric_median", rows * np.float32(scale), iterations=1, smoothing=0.5)
    # from the median 1 on: distances 3, 1, 0, 3, 8; none counts as less than half of their median
    weights = 1 / np.array([3, 1.5, 1.5, 3, 8])
    np.testing.assert_allclose(found / scale, [weights @ rows[:, 0] / weights.sum()], rtol=1e-6)


def test_where_most_are_the_same_that_is_the_point():
    assert direction("geometric_median", [[3, 4], [3, 4], [3, 4], [9, 9], [-9, 2]]).tolist() == [3, 4]


def test_one_iteration_is_the_mean_weighted_by_one_over_the_distance():
    # from the median [1, 0] on: distances 3, 5, 1
    found = direction("geometric_median", [[1, 3], [6, 0], [0, 0]], iterations=1)
    weights = np.array([1 / 3, 1 / 5, 1])
    np.testing.assert_allclose(found, weights @ [[1, 3], [6, 0], [0, 0]] / weights.sum(), rtol=1e-6)
