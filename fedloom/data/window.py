"""Cuts recordings into windows; a window never crosses from one recording into the next."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.data.table import Labels

Target = NDArray[np.float32] | NDArray[np.int64]
"""As in `Dataset.y`."""
Spans = NDArray[np.int64]
"""(m, 2) int64: first row, and the row after the last, of each stretch."""


def recordings(groups: tuple[Labels, ...], rows: int) -> Spans:
    """The stretches of rows between changes in any group column; with no group columns, all rows are one recording."""
    changed = np.zeros(max(rows - 1, 0), np.bool_)
    for column in groups:
        changed |= column[1:] != column[:-1]
    edges = np.concatenate(([0], np.flatnonzero(changed) + 1, [rows]))
    return np.stack((edges[:-1], edges[1:]), axis=1).astype(np.int64)


def window_starts(spans: Spans, length: int, hop: int) -> NDArray[np.int64]:
    """(w,) the first row of every window of `length` rows that lies within a span, `hop` rows apart."""
    parts = [np.arange(first, stop - length + 1, hop, dtype=np.int64) for first, stop in spans.tolist()]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def window_targets(y: Target, starts: NDArray[np.int64], length: int) -> Target:
    """What each window is to be predicted as: the majority of its rows' classes, or the mean of its rows' numbers."""
    return _majority(y, starts, length) if y.dtype.kind == "i" else _mean(y, starts, length)


def _majority(classes: NDArray[Any], starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """(w,) the most frequent class of each window's rows; of equally frequent ones, the lowest number."""
    best, count = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    for number in range(int(classes.max(initial=-1)) + 1):
        running = np.concatenate(([0], np.cumsum(classes == number)))
        here = running[starts + length] - running[starts]
        better = here > count
        best[better], count[better] = number, here[better]
    return best


def _mean(values: NDArray[Any], starts: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    """(w, k) the mean over each window's rows of (n, k) values, in float64."""
    means = [values[start : start + length].mean(axis=0, dtype=np.float64) for start in starts.tolist()]
    return np.array(means, np.float32).reshape(len(starts), values.shape[1])
