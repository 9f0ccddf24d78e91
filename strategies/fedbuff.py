"""Buffered asynchronous aggregation: w ← w + η_server · (1/K) · Σ_k s(τ_k) · Δ_k, with s(τ) = 1/√(1 + τ).

Δ_k = w_k − w^(t−τ_k) was trained from a model that is τ_k versions old; K is how many updates are in the buffer: the
job's `asynchronous.buffer`, a few more if they were being stored when it was full, fewer if the deadline came first.
As in the paper's algorithm every update weighs the same, however many samples it was trained on, and the sum is
divided by K, not by Σ s(τ_k): a buffer of stale updates makes a smaller step.

Source: Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba 2022, "Federated learning with buffered asynchronous
aggregation", AISTATS, arXiv:2106.06639, algorithm 1; s(τ) as in its experiments.
"""

import math
from typing import ClassVar

import numpy as np

from fedloom.learning.layout import Vector
from fedloom.learning.plan import Positive
from strategies.base import Fused, State, Updates, total_samples
from strategies.summing import Stateless, weighted_sum


class FedBuff(Stateless, frozen=True):
    """The mean of the client updates, each scaled down by its staleness."""

    is_asynchronous: ClassVar[bool] = True
    server_learning_rate: Positive = 1.0

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """One pass over the updates in float64, one cast."""
        total_samples(updates)  # refuses a buffer in which nobody has trained
        step = weighted_sum(weights.size, ((staleness_weight(each.staleness), each.delta) for each in updates))
        step *= self.server_learning_rate / len(updates)
        step += weights
        return Fused(step.astype(np.float32), state)


def staleness_weight(staleness: int) -> float:
    """s(τ).

    >>> staleness_weight(0), staleness_weight(3)
    (1.0, 0.5)
    """
    return 1.0 / math.sqrt(1.0 + staleness)
