"""SCAFFOLD: local steps along g − c_i + c, where control variates tell which way one device's data pulls, and all do.

    w ← w + η_server · (1/|S|) · Σ_{i∈S} Δ_i        c ← c + (1/N) · Σ_{i∈S} Δc_i

S are the round's devices, N all of them; as in the paper every device weighs the same, however many samples it has.
What a device does, and keeps, is in fedloom.learning.corrections (option II). The state here is Σ c_i over all devices,
so that c is right, too, when N becomes larger; it costs twice the bytes, down and up.

Source: Karimireddy, Kale, Mohri, Reddi, Stich, Suresh 2020, "SCAFFOLD: stochastic controlled averaging for federated
learning", arXiv:1910.06378, algorithm 1.
"""

import msgspec
import numpy as np

from fedloom.learning.layout import Vector
from fedloom.learning.plan import Positive, TrainPlan
from strategies.base import Fused, FusionError, PlanError, State, Updates, check_finite, total_samples
from strategies.summing import BLOCK_ROWS
from strategies.variates import WithVariates, advanced, sum_of


class Scaffold(WithVariates, frozen=True):
    """Devices also send, and are sent, control variates."""

    server_learning_rate: Positive = 1.0

    def plan(self, round_number: int, base: TrainPlan, state: State) -> TrainPlan:
        """Plain corrected steps: c_i⁺ is the mean of the gradients only where those are what the weights went along."""
        if base.optimiser != "sgd":
            problem = f"is {base.optimiser!r}, and SCAFFOLD reads a device's gradients from how far its weights went"
            raise PlanError("optimiser", problem, "set it to 'sgd'")
        for key in ("clip_norm", "proximal_mu"):
            if value := getattr(base, key):
                problem = f"is {value}, which changes the gradients that SCAFFOLD's control variates stand for"
                raise PlanError(key, problem, "leave it out")
        return msgspec.structs.replace(base, correction="scaffold")

    def broadcast(self, state: State) -> Vector:
        """c = Σ c_i / N."""
        mean: Vector = sum_of(state) / np.float32(self.population(state))
        return mean

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """One pass over both vectors of each update."""
        total_samples(updates)  # refuses a round in which nobody has trained
        direction, change = np.zeros(weights.size), np.zeros(weights.size)
        clients = []
        for block in updates.blocks(BLOCK_ROWS):
            direction += block.deltas.sum(axis=0)
            for update in block.updates:
                if update.control is None:
                    raise FusionError("an update has no control variate")
                change += update.control
                clients.append(update.client)
        direction *= self.server_learning_rate / len(clients)
        direction += weights
        after, fused = advanced(state, change, clients), direction.astype(np.float32)
        check_finite(fused)
        check_finite(sum_of(after))
        return Fused(fused, after)
