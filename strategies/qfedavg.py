"""Fair averaging: devices on which the model does worse weigh more. With F_k the loss of the round's model on device k
before it trained, and L = 1 / η for the devices' learning rate η:

    Δ = Σ_k F_k^q · Δ_k / Σ_k h_k,    h_k = F_k^q + q · F_k^(q−1) · L · ‖Δ_k‖²

This is the paper's Σ Δ_k / Σ h_k with its Δw_k = −L · Δ_k, divided by L above and below. Here both sums are also
divided by the largest F^q, so that no power overflows. q = 0 is the plain mean. As in the paper's algorithm samples do
not weigh, and as in its code 10⁻¹⁰ is added to each loss.

The losses are what devices say they are: a device that lies draws the model to itself.

Source: Li, Sanjabi, Beirami, Smith 2020, "Fair resource allocation in federated learning", ICLR, arXiv:1905.10497,
algorithm 2 (q-FedAvg).
"""

import math
from typing import ClassVar

import msgspec
import numpy as np

from fedloom.learning.plan import NonNegative, Positive, TrainPlan
from strategies.base import ClientUpdate, Direction, FusionError, PlanError, Updates, total_samples
from strategies.summing import weighted_sum

_LEAST_LOSS = 1e-10


class Fair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of the client updates, weighted by a power of their losses."""

    is_asynchronous: ClassVar[bool] = False
    needs_of_each: ClassVar[str] = "loss"
    client_learning_rate: Positive
    """The job's `training.learning_rate`."""
    q: NonNegative = 1.0
    """0 is the plain mean; the larger, the more the worst device weighs."""

    def combine(self, updates: Updates, size: int) -> Direction:
        """Two passes: the largest loss must be known first."""
        total_samples(updates)  # refuses a round in which nobody has trained
        largest = max(_loss(update) for update in updates)
        steps: list[float] = []

        def weight(update: ClientUpdate) -> float:
            loss = _loss(update)
            factor = float((loss / largest) ** self.q)
            square = float(np.vdot(update.delta, update.delta))
            steps.append(factor * (1.0 + self.q * square / (self.client_learning_rate * loss)))
            return factor

        direction = weighted_sum(size, updates, weight)
        direction /= sum(steps)
        return direction


class MeasuredLoss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sees to it that devices tell F_k, and that `client_learning_rate` is what they train with."""

    client_learning_rate: Positive

    def plan(self, base: TrainPlan) -> TrainPlan:
        """The job's own, and the loss: one more pass over a device's data."""
        if base.learning_rate != self.client_learning_rate:
            problem = f"is {base.learning_rate}, and 'qfedavg' is told {self.client_learning_rate}"
            remedy = f"set strategy.options.client_learning_rate = {base.learning_rate}"
            raise PlanError("learning_rate", problem, remedy)
        return msgspec.structs.replace(base, measure_loss=True)


def _loss(update: ClientUpdate) -> float:
    if not (math.isfinite(update.loss) and update.loss >= 0.0):
        device, loss = update.client.hex(), update.loss
        raise FusionError(
            f"qfedavg needs each device's loss before it trained, and {device} has sent {loss}; "
            "bring its software up to date, or take another strategy"
        )
    return update.loss + _LEAST_LOSS
