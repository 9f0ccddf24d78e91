"""Krum: Δ = Δ_i* of the update with the least score s(i) = Σ_{j → i} ‖Δ_i − Δ_j‖², the sum over its n − f − 2 nearest
neighbours; and Multi-Krum, the mean of the m updates with the least scores.

Samples do not weigh in: a liar would choose how many it claims. Of equal scores the first in canonical order is taken.

Source: Blanchard, El Mhamdi, Guerraoui, Stainer 2017, "Machine learning with adversaries: Byzantine tolerant gradient
descent", NeurIPS, arXiv:1703.02757, sections 4 and 6; m = n − f as in its experiments.
"""

from typing import Annotated, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from strategies.attackers import Attackers, Tolerance
from strategies.base import Direction, FusionError, Updates
from strategies.distances import Distances, squared_distances
from strategies.summing import sum_of_rows

_KRUM = Tolerance("krum", per_attacker=2, besides=3)
_MULTI_KRUM = _KRUM._replace(rule="multi_krum")


class Krum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The update that is nearest to its neighbours, as it is."""

    is_asynchronous: ClassVar[bool] = False

    f: Attackers = None

    @property
    def fewest(self) -> int:
        """For f."""
        return _KRUM.fewest(self.f)

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass for the distances, one for the update."""
        attackers = _KRUM.assumed(self.f, updates)
        return _mean_of_best(updates, size, attackers, kept=1)


class MultiKrum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of the updates that are nearest to their neighbours."""

    is_asynchronous: ClassVar[bool] = False

    f: Attackers = None
    kept: Annotated[int, msgspec.Meta(ge=0)] = 0
    """m; 0 is n − f."""

    @property
    def fewest(self) -> int:
        """For f, and to keep so many."""
        return max(_MULTI_KRUM.fewest(self.f), self.kept)

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass for the distances, one for the mean."""
        attackers = _MULTI_KRUM.assumed(self.f, updates)
        count = len(updates)
        if self.kept > count:
            raise FusionError(f"multi_krum cannot keep {self.kept} of {count} updates; lower strategy.options.kept")
        return _mean_of_best(updates, size, attackers, self.kept or count - attackers)


def neighbours(count: int, attackers: int) -> int:
    """n − f − 2; with very few updates at least one, where there is one."""
    return max(1, count - attackers - 2)


def scores(distances: Distances, attackers: int) -> NDArray[np.float64]:
    """s(i) of each, (n,).

    >>> scores(np.square(np.subtract.outer([0.0, 1.0, 3.0, 9.0], [0.0, 1.0, 3.0, 9.0])), 1)
    array([ 1.,  1.,  4., 36.])
    """
    ascending = np.sort(distances, axis=1)[:, 1:]  # without its distance to itself, which is the least: zero
    return np.asarray(ascending[:, : neighbours(len(distances), attackers)].sum(axis=1))


def _mean_of_best(updates: Updates, size: int, attackers: int, kept: int) -> Direction:
    order = np.argsort(scores(squared_distances(updates, size), attackers), kind="stable")
    factors = np.zeros(len(updates))
    factors[order[:kept]] = 1.0 / kept
    return sum_of_rows(size, updates, factors.tolist())
