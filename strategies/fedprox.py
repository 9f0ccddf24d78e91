"""FedProx: FedAvg, whose devices add ½·μ·‖w_k − w‖² to their loss, so that they stay near the round's model.

Source: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith 2020, "Federated optimization in heterogeneous networks",
arXiv:1812.06127, eq. 2 and algorithm 2. Devices that stop early, as there, are those with `training.max_steps`.
"""

import msgspec

from fedloom.learning.plan import Positive, TrainPlan
from strategies.base import PlanError


class Proximal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The proximal term of the devices' plan; 0.001, 0.01, 0.1 and 1 are what the paper has tried."""

    mu: Positive = 0.01

    def plan(self, base: TrainPlan) -> TrainPlan:
        """With μ."""
        if base.proximal_mu:
            problem = f"is {base.proximal_mu}, and 'fedprox' sets it from strategy.options.mu = {self.mu}"
            raise PlanError("proximal_mu", problem, "leave it out")
        return msgspec.structs.replace(base, proximal_mu=self.mu)
