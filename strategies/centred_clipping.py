"""Centred clipping: v ← v + (1/n) · Σ_k (Δ_k − v) · min(1, τ / ‖Δ_k − v‖), from the v of the round before.

However far away an update is, it moves v by τ/n at most. Samples do not weigh in: a liar would choose how many it
claims.

Source: Karimireddy, He, Jaggi 2021, "Learning from history for Byzantine robust optimization", ICML, arXiv:2012.10333,
algorithm 2. The paper has devices send momentum, which keeps honest ones together; that is the job's own choice here.
"""

from typing import Annotated, ClassVar

import msgspec
import numpy as np

from fedloom.learning.plan import NonNegative
from strategies.base import Direction, Updates, total_samples
from strategies.distances import norms
from strategies.norm_clipping import clipping
from strategies.summing import sum_of_rows


class CentredClipping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of the updates, each clipped to a ball around the direction of the round before."""

    is_asynchronous: ClassVar[bool] = False

    radius: NonNegative = 0.0
    """τ, in weights; 0 is the median of the distances, in each iteration anew, which fits any model."""
    iterations: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """The paper's L."""

    def combine(self, updates: Updates, size: int) -> Direction:
        """As in the first round."""
        return self.combine_after(np.zeros(size), updates, size)

    def combine_after(self, last: Direction, updates: Updates, size: int) -> Direction:
        """Two passes an iteration: for the distances, and for the sum."""
        total_samples(updates)  # refuses a round in which nobody has trained
        centre = last.copy()
        for _ in range(self.iterations):
            distances = norms(updates, size, centre)
            shares = clipping(distances, self.radius or float(np.median(distances))) / len(updates)
            # Σ s_k·(Δ_k − v) = Σ s_k·Δ_k − v · Σ s_k
            centre *= 1.0 - float(shares.sum())
            centre += sum_of_rows(size, updates, shares.tolist())
        return centre
