"""Robust federated aggregation (RFA): the geometric median, argmin_v Σ_k ‖v − Δ_k‖, by the smoothed Weiszfeld
algorithm: v ← Σ_k β_k·Δ_k / Σ_k β_k with β_k = 1 / max(ν·d, ‖v − Δ_k‖), where d is the median distance to the first v.

The paper weighs by samples; here, as in every robust rule, samples do not weigh in: a liar would choose how many it
claims. The paper's ν is a length, here a share of d: updates of any scale are treated alike. It begins at the
coordinate-wise median: the mean is wherever one attacker wants it, and at v = 0 one that sends zeros would hold it,
because a distance of zero weighs more than all others.

Source: Pillutla, Kakade, Harchaoui 2022, "Robust aggregation for federated learning", IEEE Transactions on Signal
Processing, arXiv:1912.13445, algorithm 2.
"""

from typing import Annotated, ClassVar

import msgspec
import numpy as np

from fedloom.learning.plan import NonNegative, Positive
from strategies.base import Direction, Updates
from strategies.distances import norms
from strategies.summing import sum_of_rows
from strategies.trimmed_mean import Median


class GeometricMedian(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The point with the least sum of distances to the updates; half of them may be anywhere."""

    is_asynchronous: ClassVar[bool] = False

    iterations: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 32
    """At most; the paper's experiments take 3."""
    tolerance: NonNegative = 1e-5
    """Ends when a step is shorter than this share of ‖v‖."""
    smoothing: Positive = 1e-6
    """ν, as a share of the median distance to where it begins: a distance counts as no less."""

    def combine(self, updates: Updates, size: int) -> Direction:
        """A pass in column tiles, then two an iteration: for the distances, and for the sum."""
        centre = Median().combine(updates, size)
        least = 0.0
        for _ in range(self.iterations):
            distances = norms(updates, size, centre)
            least = least or self.smoothing * float(np.median(distances))
            if not least:  # most updates are one and the same, which is the point
                break
            weights = 1.0 / np.maximum(least, distances)
            before, centre = centre, sum_of_rows(size, updates, (weights / weights.sum()).tolist())
            before -= centre
            step = float(np.linalg.norm(before))
            if step <= self.tolerance * float(np.linalg.norm(centre)):
                break
        return centre
