"""Adaptive server optimisers: FedAdagrad, FedAdam, FedYogi. For the direction Δ that the rule has found:

    m ← β₁·m + (1 − β₁)·Δ
    v ← v + Δ²                               FedAdagrad
    v ← v − (1 − β₂)·Δ²·sign(v − Δ²)         FedYogi
    v ← β₂·v + (1 − β₂)·Δ²                   FedAdam
    w ← w + η·m / (√v + τ)

m begins at 0 and v at τ², the least that the paper allows. As in the paper no bias is corrected. (flwr begins with
v = 0, and corrects that of FedAdam as Kingma and Ba do, so that its first rounds take larger steps.)

Source: Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan 2021, "Adaptive federated optimization",
arXiv:2003.00295, algorithm 2; β₁, β₂ and τ as in its experiments, FedAdagrad without momentum.
"""

import msgspec
import numpy as np

from fedloom.learning.layout import Vector
from fedloom.learning.plan import Fraction, Positive
from strategies.base import Direction, Fused, State
from strategies.moments import Moments, moments, read, write


class Adagrad(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps that become shorter the further a weight has been moved; and what the others have in common."""

    server_learning_rate: Positive = 0.1
    beta1: Fraction = 0.0
    tau: Positive = 1e-3
    """A weight whose directions are below it is moved in proportion to them, others by about the learning rate."""

    def initial_state(self, size: int) -> State:
        """m = 0, v = τ²."""
        return Moments(first=bytes(4 * size), second=write(np.full(size, self.tau**2)))

    def step(self, weights: Vector, direction: Direction, state: State) -> Fused:
        """In float64, one cast."""
        before = moments(state)
        first = read(before.first)
        first *= self.beta1
        first += (1.0 - self.beta1) * direction
        second = self.second_moment(read(before.second), np.square(direction))
        left = Moments(first=write(first), second=write(second))
        first *= self.server_learning_rate
        first /= np.sqrt(second) + self.tau
        first += weights
        return Fused(first.astype(np.float32), left)

    def second_moment(self, before: Direction, squared: Direction) -> Direction:
        """v, from the one before and Δ²."""
        return before + squared


class Adam(Adagrad, frozen=True, forbid_unknown_fields=True):
    """Steps of about the learning rate, whatever scale a weight's directions have had lately."""

    beta1: Fraction = 0.9
    beta2: Fraction = 0.99

    def second_moment(self, before: Direction, squared: Direction) -> Direction:
        """An exponential mean."""
        return self.beta2 * before + (1.0 - self.beta2) * squared


class Yogi(Adagrad, frozen=True, forbid_unknown_fields=True):
    """Like Adam, but v changes by (1 − β₂)·Δ² at most: small directions after large ones do not speed it up at once."""

    server_learning_rate: Positive = 0.01
    beta1: Fraction = 0.9
    beta2: Fraction = 0.99

    def second_moment(self, before: Direction, squared: Direction) -> Direction:
        """Additive."""
        return before - (1.0 - self.beta2) * squared * np.sign(before - squared)
