"""A server step that is found each round by extrapolation: Δ = η · Δ̄, with Δ̄ = (1/M) · Σ_k Δ_k and

    η = max(1, Σ_k ‖Δ_k‖² / (2·M·(‖Δ̄‖² + ε)))

Where devices pull in different directions their mean is short, though each is far from its own optimum: η is large. As
in the paper's algorithm every update weighs the same, however many samples it was trained on.

Source: Jhunjhunwala, Wang, Joshi 2023, "FedExP: speeding up federated averaging via extrapolation", ICLR,
arXiv:2301.09604, algorithm 1. Its last model is the mean of the last two; ours is the last.
"""

from typing import ClassVar

import msgspec
import numpy as np

from fedloom.learning.plan import Positive
from strategies.base import ClientUpdate, Direction, Updates, total_samples
from strategies.summing import weighted_sum


class Extrapolated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of the client updates, made longer."""

    is_asynchronous: ClassVar[bool] = False
    epsilon: Positive = 1e-3
    """Bounds η where the mean is nearly zero; compared with ‖Δ̄‖²."""

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass."""
        total_samples(updates)  # refuses a round in which nobody has trained
        count = len(updates)
        squares: list[float] = []

        def weight(update: ClientUpdate) -> float:
            squares.append(float(np.vdot(update.delta, update.delta)))
            return 1.0 / count

        direction = weighted_sum(size, updates, weight)
        direction *= extrapolation(squares, float(np.vdot(direction, direction)), self.epsilon)
        return direction


def extrapolation(squares: list[float], square_of_mean: float, epsilon: float) -> float:
    """η.

    >>> extrapolation([4.0, 4.0], 0.5, 0.5)
    2.0
    """
    return max(1.0, sum(squares) / (2 * len(squares) * (square_of_mean + epsilon)))
