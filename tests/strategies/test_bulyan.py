"""Bulyan, by hand."""

import numpy as np
import pytest
from directions import direction, updates

from strategies.bulyan import mean_around_median, selection
from strategies.distances import squared_distances


def test_krum_chooses_again_and_again_out_of_those_that_are_left():
    # n = 7, f = 1, θ = 5. Scores, with r − 3 neighbours of r:
    #   0 1 2 3 5 8 100: 39 15 15 18 42 123 …    → 1      0 2 3 5 8 100: 38 14 14 22 70 … → 2
    #   0 3 5 8 100: 34 13 13 34 …               → 3      0 5 8 100: 25 9 9 …             → 5
    #   0 8 100: 64 64 …                         → 0
    rows = [[0], [1], [2], [3], [5], [8], [100]]
    assert selection(squared_distances(updates(rows), 1), 1).tolist() == [0, 1, 2, 3, 4]
    # of 0 1 2 3 5 the three closest to 2
    assert direction("bulyan", rows, f=1)[0] == 2


@pytest.mark.parametrize(
    ("row", "averaged", "mean"),
    [
        ([0, 4, 5, 7, 99], 3, 16 / 3),
        ([1, 2, 3, 4, 5], 3, 3),
        ([3, 3, 3, 5, 6, 8, 8], 3, 14 / 3),  # distances to 5: 2 2 2 0 1 3 3
        ([0, 2, 4], 2, 1),  # both ends are as far: the smaller
        ([7, 7, 7, 7], 2, 7),
        ([1, 9], 2, 5),
        ([6], 1, 6),
    ],
)
def test_the_closest_to_the_median_are_averaged(row, averaged, mean):
    assert mean_around_median(np.array([row], np.float32), averaged)[0] == pytest.approx(mean)


def test_without_attackers_it_is_the_mean():
    assert direction("bulyan", [[1], [2], [9]], f=0)[0] == 4
