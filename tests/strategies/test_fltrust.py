"""FLTrust, by hand."""

import numpy as np
import pytest
from directions import direction, normal

from strategies import FusionError

TRUSTED = [2, 0]


def test_each_counts_by_how_far_it_points_the_same_way():
    # cosines 1, 0.6, −1; lengths 2, 2: (1·[2, 0] + 0.6·[1.2, 1.6]) / 1.6
    found = direction("fltrust", [[9, 0], [3, 4], [-7, 0]], trusted=TRUSTED)
    np.testing.assert_allclose(found, [(2 + 0.72) / 1.6, 0.96 / 1.6], rtol=1e-6)


def test_no_length_gives_more_weight():
    rows = normal(4, 5, 2)
    longer = rows * np.array([[1], [1e6], [1], [1e-6], [1]], np.float32)
    found = (direction("fltrust", each, trusted=TRUSTED) for each in (rows, longer))
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("length", [1e-31, 1e-40])
def test_one_too_short_to_be_made_longer_counts_for_nothing(length):
    found = direction("fltrust", [[9, 0], [length, length]], trusted=TRUSTED)
    np.testing.assert_array_equal(found, np.array(TRUSTED, np.float32))


def test_all_but_one_may_be_attackers():
    rows = [[1, 0], *([[-5, 0]] * 9)]
    np.testing.assert_array_equal(direction("fltrust", rows, trusted=TRUSTED), np.array(TRUSTED, np.float32))


@pytest.mark.parametrize("rows", [[[-1, 0]], [[0, 5]], [[0, 0]]])
def test_where_none_points_that_way_nothing_changes(rows):
    with pytest.raises(FusionError, match="no update points the way"):
        direction("fltrust", rows, trusted=TRUSTED)


def test_without_a_root_set_it_cannot_be():
    with pytest.raises(FusionError, match=r"set \[root_set\]"):
        direction("fltrust", [[1, 2]])


def test_pre_steps_hand_the_trusted_update_on():
    for before in (("clip_norm",), ("bucketing",), ("nearest_neighbour_mixing", "clip_norm")):
        np.testing.assert_allclose(direction("fltrust", [[4, 0]] * 5, before, TRUSTED), TRUSTED, rtol=1e-6)
