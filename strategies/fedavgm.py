"""Server momentum: v ← β·v + Δ, then w ← w + η·v, with Δ the direction that the rule has found.

The paper's Δw is w − w_k, so that it subtracts; and its η is 1.

Source: Hsu, Qi, Brown 2019, "Measuring the effects of non-identical data distribution for federated visual
classification", arXiv:1909.06335, FedAvgM.
"""

import msgspec
import numpy as np

from fedloom.learning.layout import Vector
from fedloom.learning.plan import Fraction, Positive
from strategies.base import Direction, Fused, State
from strategies.moments import Moments, moments, read, write


class Momentum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """FedAvgM's server; with momentum m a steady direction is followed 1 / (1 − m) times as fast."""

    server_learning_rate: Positive = 1.0
    server_momentum: Fraction = 0.9

    def initial_state(self, size: int) -> State:
        """No velocity."""
        return Moments(first=bytes(4 * size))

    def step(self, weights: Vector, direction: Direction, state: State) -> Fused:
        """In float64, one cast."""
        velocity = read(moments(state).first)
        velocity *= self.server_momentum
        velocity += direction
        left = Moments(first=write(velocity))
        velocity *= self.server_learning_rate
        velocity += weights
        return Fused(velocity.astype(np.float32), left)
