"""Windows and recordings against slow plain loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedloom.data.window import recordings, window_starts, window_targets

GROUPS = st.lists(st.integers(0, 2), min_size=1, max_size=60)
LENGTH = st.integers(1, 9)


def plain_windows(groups, length, hop):
    """Walk row by row: a window starts every `hop` rows after its recording's first row."""
    starts, first = [], 0
    for row in range(len(groups)):
        if row and groups[row] != groups[row - 1]:
            first = row
        stop = row + length
        fits = stop <= len(groups) and all(groups[other] == groups[row] for other in range(row, stop))
        if fits and (row - first) % hop == 0:
            starts.append(row)
    return starts


@given(GROUPS, GROUPS, LENGTH, st.integers(1, 9))
def test_windows_match_a_plain_loop(one, two, length, hop):
    rows = min(len(one), len(two))
    columns = (np.array(one[:rows]), np.array(two[:rows]).astype(str))
    starts = window_starts(recordings(columns, rows), length, hop)
    assert starts.tolist() == plain_windows(list(zip(one, two, strict=False)), length, hop)


@given(GROUPS)
def test_recordings_cover_all_rows_once_and_are_uniform(groups):
    spans = recordings((np.array(groups),), len(groups))
    assert [row for first, stop in spans.tolist() for row in range(first, stop)] == list(range(len(groups)))
    assert all(len(set(groups[first:stop])) == 1 for first, stop in spans.tolist())
    assert all(groups[stop - 1] != groups[stop] for stop in spans[:-1, 1].tolist())


def test_without_groups_all_rows_are_one_recording():
    assert recordings((), 5).tolist() == [[0, 5]]


@given(GROUPS, LENGTH)
def test_majority_matches_counting(classes, length):
    starts = np.arange(0, max(0, len(classes) - length + 1))
    expected = [
        min(range(3), key=lambda number: (-classes[s : s + length].count(number), number)) for s in starts.tolist()
    ]
    assert window_targets(np.array(classes, np.int64), starts, length).tolist() == expected


def test_numbers_are_averaged():
    values = np.array([[0], [1], [5]], np.float32)
    means = window_targets(values, np.array([0, 1]), 2)
    np.testing.assert_array_equal(means, np.array([[0.5], [3.0]], np.float32))
    assert means.dtype == np.float32
    assert window_targets(values, np.zeros(0, np.int64), 2).shape == (0, 1)
