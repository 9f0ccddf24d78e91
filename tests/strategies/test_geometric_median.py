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


def test_one_iteration_is_the_mean_weighted_by_one_over_the_distance():
    # from the median [1, 0] on: distances 3, 5, 1
    found = direction("geometric_median", [[1, 3], [6, 0], [0, 0]], iterations=1)
    weights = np.array([1 / 3, 1 / 5, 1])
    np.testing.assert_allclose(found, weights @ [[1, 3], [6, 0], [0, 0]] / weights.sum(), rtol=1e-6)
