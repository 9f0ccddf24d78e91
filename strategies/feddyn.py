"""FedDyn: each device's loss gets a linear and a proximal term, so that all devices' optima become the federation's.

    h ← h − α · (1/m) · Σ_{k∈P} Δ_k        w ← w + (1/|P|) · Σ_{k∈P} Δ_k − h/α

P are the round's devices, m all of them; every device weighs the same. The devices minimise
f_k(v) − ⟨g_k, v⟩ + ½·α·‖v − w‖² and keep g_k ← g_k − α·Δ_k, so that h is the mean of all g_k: nothing but Δ_k travels.
What a device does is in fedloom.learning.corrections.

Source: Acar, Zhao, Matas Navarro, Mattina, Whatmough, Saligrama 2021, "Federated learning based on dynamic
regularization", arXiv:2111.04263, algorithm 1.
"""

import msgspec
import numpy as np

from fedloom.learning.layout import Vector
from fedloom.learning.plan import Positive, TrainPlan
from strategies.base import Fused, PlanError, State, Updates, check_finite, total_samples
from strategies.summing import weighted_sum
from strategies.variates import WithVariates, advanced, sum_of


class FedDyn(WithVariates, frozen=True):
    """m is `devices`."""

    alpha: Positive = 0.01
    """α; 0.001, 0.01 and 0.1 are what the paper has tried."""

    def plan(self, round_number: int, base: TrainPlan, state: State) -> TrainPlan:
        """With α, as the proximal term, and the correction; any optimiser will do: only where it arrives matters."""
        if base.proximal_mu:
            problem = f"is {base.proximal_mu}, and 'feddyn' sets it from strategy.options.alpha = {self.alpha}"
            raise PlanError("proximal_mu", problem, "leave it out")
        return msgspec.structs.replace(base, proximal_mu=self.alpha, correction="feddyn")

    def broadcast(self, state: State) -> None:
        """Nothing."""

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """One pass."""
        total_samples(updates)  # refuses a round in which nobody has trained
        total = weighted_sum(weights.size, updates, lambda update: 1.0)
        after = advanced(state, total * -self.alpha, (update.client for update in updates))
        total /= len(updates)
        total += weights
        total -= sum_of(after) / (self.alpha * self.population(after))
        fused = total.astype(np.float32)
        check_finite(fused)
        return Fused(fused, after)
