"""Asynchronous mixing: w ← (1/K) · Σ_k [(1 − α_k)·w + α_k·(w + Δ_k)], with α_k = α · s(τ_k), and of the staleness τ

    s(τ) = 1                                          constant
    s(τ) = (τ + 1)^−a                                 polynomial
    s(τ) = 1 if τ ≤ b else 1 / (a·(τ − b) + 1)        hinge

With `asynchronous.buffer = 1` it is the paper's server, which takes one update at a time; the K of a larger buffer are
each mixed in like that, and the mean is taken, so that none comes first. The paper mixes in the device's own model,
w^(t−τ) + Δ_k; here Δ_k is added to the newest model, which is the same for τ = 0 (see docs/decisions/0013).

Source: Xie, Koyejo, Gupta 2019, "Asynchronous federated optimization", arXiv:1903.03934, algorithm 1; s(τ) as in its
experiments.
"""

from typing import ClassVar, Literal

import msgspec

from fedloom.job.numbers import Share
from fedloom.learning.plan import Count, Positive
from strategies.base import Direction, Updates, total_samples
from strategies.summing import weighted_sum


class MixedIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each update mixed into the model, the less the staler it is."""

    is_asynchronous: ClassVar[bool] = True
    mixing: Share = 0.6
    """α: the share of a fresh update's model."""
    staleness: Literal["constant", "polynomial", "hinge"] = "polynomial"
    polynomial_a: Positive = 0.5
    hinge_a: Positive = 10.0
    hinge_b: Count = 4
    """Updates that are no staler than this are as good as fresh."""

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass."""
        total_samples(updates)  # refuses a buffer in which nobody has trained
        count = len(updates)
        return weighted_sum(size, updates, lambda update: self.mixing * self.trust(update.staleness) / count)

    def trust(self, staleness: int) -> float:
        """s(τ).

        >>> MixedIn().trust(3), MixedIn(staleness="hinge").trust(5)
        (0.5, 0.09090909090909091)
        """
        if self.staleness == "polynomial":
            return float((staleness + 1.0) ** -self.polynomial_a)
        if self.staleness == "hinge" and staleness > self.hinge_b:
            return 1.0 / (self.hinge_a * (staleness - self.hinge_b) + 1.0)
        return 1.0
