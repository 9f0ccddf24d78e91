"""Bulyan: θ = n − 2f updates are chosen by Krum, one after the other, each out of those that are left; then of each
weight the mean of the θ − 2f values that are closest to the median of the chosen.

Samples do not weigh in: a liar would choose how many it claims.

Source: El Mhamdi, Guerraoui, Rouault 2018, "The hidden vulnerability of distributed learning in Byzantium", ICML,
arXiv:1802.07927, section 4.
"""

from typing import ClassVar

import msgspec
import numpy as np

from strategies.attackers import Attackers, Tolerance
from strategies.base import Direction, Matrix, Updates
from strategies.distances import Distances, squared_distances
from strategies.krum import neighbours
from strategies.tiles import Rows, by_coordinate
from strategies.trimmed_mean import median_of_sorted

_TOLERANCE = Tolerance("bulyan", per_attacker=4, besides=3)


class Bulyan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Krum, again and again, then a mean around the median."""

    is_asynchronous: ClassVar[bool] = False

    f: Attackers = None

    @property
    def fewest(self) -> int:
        """For f."""
        return _TOLERANCE.fewest(self.f)

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass for the distances, one in column tiles."""
        attackers = _TOLERANCE.assumed(self.f, updates)
        chosen = selection(squared_distances(updates, size), attackers)
        averaged = len(chosen) - 2 * attackers
        return by_coordinate(updates, size, lambda rows: mean_around_median(rows, averaged), chosen)


def selection(distances: Distances, attackers: int) -> Rows:
    """The n − 2f updates that Krum chooses one after the other, in canonical order.

    The distances are sorted once; of each row what was chosen is struck out, and what is left stays sorted.
    """
    left = np.arange(len(distances))
    order = np.argsort(distances, axis=1, kind="stable")
    ascending = np.take_along_axis(distances, order, axis=1)
    chosen = []
    for _ in range(len(distances) - 2 * attackers):
        scores = ascending[:, 1 : neighbours(len(left), attackers) + 1].sum(axis=1)
        best = int(np.argmin(scores))
        chosen.append(left[best])
        stays = order != left[best]
        stays[best] = False
        shape = (len(left) - 1, len(left) - 1)
        left = np.delete(left, best)
        order, ascending = order[stays].reshape(shape), ascending[stays].reshape(shape)
    return np.sort(np.array(chosen))


def mean_around_median(rows: Matrix, averaged: int) -> Direction:
    """Of each ascending row (θ,) the mean of so many values closest to its median; of two as close, the smaller.

    >>> mean_around_median(np.array([[0, 4, 5, 7, 99]], np.float32), 3)
    array([5.33333333])
    """
    median = median_of_sorted(rows)[:, None]
    # They are neighbours. A window of that width moves up while what it leaves is farther than what it meets.
    first = np.count_nonzero(median - rows[:, : rows.shape[1] - averaged] > rows[:, averaged:] - median, axis=1)
    inside = first[:, None] + np.arange(averaged)
    return np.asarray(np.take_along_axis(rows, inside, axis=1).mean(axis=1, dtype=np.float64))
