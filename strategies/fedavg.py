"""Federated averaging: Δ = Σ_k (n_k / n) · Δ_k, with Δ_k = w_k − w; then w ← w + η_server · Δ.

Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas 2017, "Communication-efficient learning of deep networks from
decentralized data", arXiv:1602.05629, algorithm 1; the server learning rate as in Reddi et al. 2021, arXiv:2003.00295.
"""

from typing import ClassVar

import msgspec
import numpy as np

from fedloom.learning.layout import Vector
from fedloom.learning.plan import Positive
from strategies.base import Direction, Fused, State, Updates
from strategies.summing import sum_by_samples


class Mean(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of the client updates, weighted by samples."""

    is_asynchronous: ClassVar[bool] = False

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass."""
        return sum_by_samples(size, updates)


class Sgd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """w ← w + η · Δ; with `server_learning_rate` 1 the weights become those that the devices have agreed on."""

    server_learning_rate: Positive = 1.0

    def initial_state(self, size: int) -> State:
        """Nothing to remember."""
        return State()

    def step(self, weights: Vector, direction: Direction, state: State) -> Fused:
        """In float64, one cast."""
        direction *= self.server_learning_rate
        direction += weights
        return Fused(direction.astype(np.float32), state)
