"""Krum and Multi-Krum, by hand; and distances where floats are treacherous."""

import numpy as np
import pytest
from directions import direction, updates

from strategies import FusionError
from strategies.distances import norms, squared_distances

# n = 5, f = 1, two neighbours each. Scores: 0 → 1 + 4 = 5; 1 → 1 + 1 = 2; 2 → 1 + 4 = 5; 4 → 4 + 9 = 13; 50 → 46² + 48²
LINE = [[4], [1], [50], [2], [0]]


def test_the_one_nearest_to_its_neighbours_is_taken_as_it_is():
    assert direction("krum", LINE, f=1)[0] == 1


def test_the_best_are_averaged():
    assert direction("multi_krum", LINE, f=1, kept=3)[0] == 1  # (1 + 2 + 0) / 3
    assert direction("multi_krum", LINE, f=1)[0] == 1.75  # m = n − f: (1 + 2 + 0 + 4) / 4


def test_of_equal_scores_the_first_is_taken():
    # scores with two neighbours: 5 2 2 5, and those of the far one
    assert direction("krum", [[0], [1], [2], [3], [99]], f=1)[0] == 1
    assert direction("krum", [[3], [2], [1], [0], [99]], f=1)[0] == 2


def test_more_than_there_are_cannot_be_kept():
    with pytest.raises(FusionError, match="cannot keep 6 of 5 updates"):
        direction("multi_krum", LINE, f=1, kept=6)


def test_small_differences_of_long_updates_count_beside_an_attacker_far_away():
    rows = np.full((4, 1000), 300.0, np.float32)
    rows[1] += 2**-8
    rows[2] += 2**-7
    rows[3] = 1e30
    step = 1000 * 2**-16
    found = squared_distances(updates(rows), 1000)
    np.testing.assert_allclose(found[:3, :3], step * np.array([[0, 1, 4], [1, 0, 1], [4, 1, 0]]), rtol=1e-3)
    assert (found == found.T).all()
    assert found[0, 3] == pytest.approx(1e63)


def test_norms_do_not_overflow():
    np.testing.assert_allclose(norms(updates([[3e30, 4e30], [0.0, 1e-30]]), 2), [5e30, 1e-30], rtol=1e-6)
    np.testing.assert_allclose(norms(updates([[4, 6]]), 2, np.array([1.0, 2.0])), [5.0])
