"""Coordinate-wise median and trimmed mean: of each weight by itself, Δ_j = median_k Δ_kj, or the mean of what is left
when the k largest and the k smallest values are taken away.

Samples do not weigh in, here or in any robust rule: a liar would choose how many it claims.

Source: Yin, Chen, Ramchandran, Bartlett 2018, "Byzantine-robust distributed learning: towards optimal statistical
rates", ICML, arXiv:1803.01498, definitions 1 and 2.
"""

from typing import Annotated, ClassVar

import msgspec
import numpy as np

from strategies.attackers import Attackers, Tolerance
from strategies.base import Direction, Matrix, Updates, total_samples
from strategies.tiles import by_coordinate

_TOLERANCE = Tolerance("trimmed_mean", per_attacker=2, besides=1)


class Median(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The median of each weight; of an even number of updates the mean of the middle two."""

    is_asynchronous: ClassVar[bool] = False

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass in column tiles."""
        total_samples(updates)  # refuses a round in which nobody has trained
        return by_coordinate(updates, size, median_of_sorted)


class TrimmedMean(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of each weight without its extremes."""

    is_asynchronous: ClassVar[bool] = False

    f: Attackers = None
    """Values taken away at either end."""
    beta: Annotated[float, msgspec.Meta(ge=0.0, lt=0.5)] | None = None
    """β, in the place of `f`: that share of the values; rounded down."""

    def __post_init__(self) -> None:
        """Raises ValueError: `f` and `beta` are both set."""
        if self.f is not None and self.beta is not None:
            raise ValueError(f"f = {self.f} and beta = {self.beta} say the same thing twice: leave one of them out")

    @property
    def fewest(self) -> int:
        """For f."""
        return _TOLERANCE.fewest(self.f)

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass in column tiles."""
        assumed = _TOLERANCE.assumed(self.f, updates)
        trimmed = assumed if self.beta is None else int(self.beta * len(updates))
        return by_coordinate(updates, size, lambda rows: mean_of_sorted(rows, trimmed))


def median_of_sorted(rows: Matrix) -> Direction:
    """Of each row.

    >>> median_of_sorted(np.array([[1, 2, 4, 9]], np.float32))
    array([3.])
    """
    count = rows.shape[1]
    low, high = rows[:, (count - 1) // 2], rows[:, count // 2]
    return (low.astype(np.float64) + high) / 2.0


def mean_of_sorted(rows: Matrix, trimmed: int) -> Direction:
    """Of each row, without so many values at either end.

    >>> mean_of_sorted(np.array([[-9, 1, 2, 6, 100]], np.float32), 1)
    array([3.])
    """
    return np.asarray(rows[:, trimmed : rows.shape[1] - trimmed].mean(axis=1, dtype=np.float64))
