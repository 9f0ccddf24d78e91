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

import msgspec

from strategies.base import Direction, Updates, total_samples
from strategies.summing import weighted_sum


class Buffered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of the client updates, each scaled down by its staleness."""

    is_asynchronous: ClassVar[bool] = True

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass."""
        total_samples(updates)  # refuses a buffer in which nobody has trained
        count = len(updates)
        return weighted_sum(size, updates, lambda update: staleness_weight(update.staleness) / count)


def staleness_weight(staleness: int) -> float:
    """s(τ).

    >>> staleness_weight(0), staleness_weight(3)
    (1.0, 0.5)
    """
    return 1.0 / math.sqrt(1.0 + staleness)
