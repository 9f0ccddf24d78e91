"""Nearest-neighbour mixing (NNM), a pre-step: each update becomes the mean of the n − f that are nearest to it, itself
included. So honest devices whose data differ come together before a robust rule looks at them.

Source: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan 2023, "Fixing by mixing: a recipe for optimal Byzantine
ML under heterogeneity", AISTATS, arXiv:2302.01772, algorithm 2.
"""

from typing import ClassVar

import msgspec
import numpy as np

from strategies.attackers import Attackers, Tolerance
from strategies.base import Updates
from strategies.distances import squared_distances
from strategies.mixed import Mixed

_TOLERANCE = Tolerance("nearest_neighbour_mixing", per_attacker=2, besides=1)


class NearestNeighbourMixing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Samples do not weigh in."""

    is_asynchronous: ClassVar[bool] = False
    mixes: ClassVar[bool] = True

    f: Attackers = None

    def prepare(self, updates: Updates, size: int) -> Updates:
        """One pass for the distances; of updates as far the first in canonical order is taken."""
        attackers = _TOLERANCE.assumed(self.f, updates)
        count = len(updates)
        nearest = np.argsort(squared_distances(updates, size), axis=1, kind="stable")[:, : count - attackers]
        shares = np.zeros((count, count), np.float32)
        np.put_along_axis(shares, nearest, np.float32(1.0 / (count - attackers)), axis=1)
        return Mixed(updates, shares, size)

    def fewest_for(self, handed_on: int) -> int:
        """As many, and enough for f."""
        return max(handed_on, _TOLERANCE.fewest(self.f))
