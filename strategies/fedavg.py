"""Federated averaging: w ← w + η_server · Σ_k (n_k / n) · Δ_k, with Δ_k = w_k − w.

Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas 2017, "Communication-efficient learning of deep networks from
decentralized data", arXiv:1602.05629, algorithm 1; the server learning rate as in Reddi et al. 2021, arXiv:2003.00295.
"""

from typing import ClassVar

import numpy as np

from fedloom.learning.layout import Vector
from fedloom.learning.plan import Positive
from strategies.base import Fused, State, Updates, total_samples
from strategies.summing import Stateless, weighted_sum


class FedAvg(Stateless, frozen=True):
    """The mean of the client updates, weighted by samples; `server_learning_rate` 1 is McMahan's algorithm."""

    is_asynchronous: ClassVar[bool] = False
    server_learning_rate: Positive = 1.0

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """One pass over the updates in float64, one cast."""
        total = total_samples(updates)
        mean = weighted_sum(weights.size, ((each.samples / total, each.delta) for each in updates))
        mean *= self.server_learning_rate
        mean += weights
        return Fused(mean.astype(np.float32), state)
