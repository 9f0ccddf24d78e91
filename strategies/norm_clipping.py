"""Norm clipping: Δ = (1/n) · Σ_k Δ_k · min(1, M / ‖Δ_k‖); nobody moves the mean by more than M/n.

M is fixed, or the median of the round's norms, which an attacker cannot move beyond those of honest devices. As a rule
by itself samples do not weigh in: a liar would choose how many it claims. As a pre-step it leaves that to the rule.

Source: Sun, Kairouz, Suresh, McMahan 2019, "Can you really backdoor federated learning?", arXiv:1911.07963, section 4.
"""

from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedloom.learning.plan import NonNegative
from strategies.base import Direction, Updates, total_samples
from strategies.distances import norms
from strategies.scaled import Scaled
from strategies.summing import sum_of_rows


class ClipNorm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pre-step."""

    is_asynchronous: ClassVar[bool] = True

    max_norm: NonNegative = 0.0
    """M, in weights; 0 is the median of the round's norms."""

    def prepare(self, updates: Updates, size: int) -> Updates:
        """One pass for the norms."""
        total_samples(updates)  # refuses a round in which nobody has trained
        lengths = norms(updates, size)
        return Scaled(updates, clipping(lengths, self.max_norm or float(np.median(lengths))).astype(np.float32))

    def fewest_for(self, handed_on: int) -> int:
        """As many."""
        return handed_on


class NormClipping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rule: the mean of what the pre-step gives, in which all weigh the same."""

    is_asynchronous: ClassVar[bool] = False

    max_norm: NonNegative = 0.0
    """M, in weights; 0 is the median of the round's norms."""

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass for the norms, one for the sum."""
        clipped = ClipNorm(self.max_norm).prepare(updates, size)
        return sum_of_rows(size, clipped, [1.0 / len(clipped)] * len(clipped))


def clipping(lengths: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """min(1, limit / length) of each.

    >>> clipping(np.array([0.0, 2.0, 8.0]), 2.0)
    array([1.  , 1.  , 0.25])
    """
    return np.divide(limit, lengths, out=np.ones_like(lengths), where=lengths > limit)
