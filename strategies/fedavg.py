"""Federated averaging: w ← w + η_server · Σ_k (n_k / n) · Δ_k, with Δ_k = w_k − w.

Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas 2017, "Communication-efficient learning of deep networks from
decentralized data", arXiv:1602.05629, algorithm 1; the server learning rate as in Reddi et al. 2021, arXiv:2003.00295.
"""

import msgspec
import numpy as np

from fedloom.learning.layout import Vector
from fedloom.learning.plan import Positive, TrainPlan
from strategies.base import Fused, State, Updates, total_samples


class FedAvg(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of the client updates, weighted by samples; `server_learning_rate` 1 is McMahan's algorithm."""

    server_learning_rate: Positive = 1.0

    def initial_state(self, size: int) -> State:
        """Nothing to remember."""
        return State()

    def plan(self, round_number: int, base: TrainPlan, state: State) -> TrainPlan:
        """The job's plan as it is."""
        return base

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """One pass over the updates in float64, one cast: O(p) memory, the same bits for the same updates."""
        total = total_samples(updates)
        mean = np.zeros(weights.size)
        scaled = np.empty(weights.size)
        for update in updates:
            np.multiply(update.delta, update.samples / total, out=scaled)
            mean += scaled
        mean *= self.server_learning_rate
        mean += weights
        return Fused(mean.astype(np.float32), state)
