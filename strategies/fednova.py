"""Normalised averaging: Δ = τ_eff · Σ_k p_k · Δ_k / ‖a_k‖₁, with p_k = n_k / n and τ_eff = Σ_k p_k · ‖a_k‖₁.

‖a_k‖₁ is how often device k has added its learning rate times a gradient: its steps τ_k for plain SGD, and with local
momentum ρ (τ_k − ρ·(1 − ρ^τ_k) / (1 − ρ)) / (1 − ρ). Without that division, a device that takes more steps draws the
model to its own optimum, and the federation converges to the wrong place.

With a proximal term or a schedule of the learning rate that is nearly so. The steps are what devices say they are, at
most those of the plan. A device that took none has nothing to normalise and counts for nothing.

Source: Wang, Liu, Liang, Joshi, Poor 2020, "Tackling the objective inconsistency problem in heterogeneous federated
optimization", NeurIPS, arXiv:2007.07481, the update rule of FedNova; ‖a_k‖₁ as in its examples of local solvers.
"""

from typing import ClassVar

import msgspec

from fedloom.learning.plan import Fraction, TrainPlan
from strategies.base import ClientUpdate, Direction, FusionError, PlanError, Updates, total_samples
from strategies.summing import weighted_sum


class Normalised(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of the client updates a step, times the mean number of steps."""

    is_asynchronous: ClassVar[bool] = False
    needs_of_each: ClassVar[str] = "steps"
    local_momentum: Fraction = 0.0
    """What the devices train with: `training.momentum` where `training.optimiser` is "momentum", else 0."""

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass."""
        total = total_samples(updates)
        lengths: list[float] = []

        def weight(update: ClientUpdate) -> float:
            length = path_length(update.steps, self.local_momentum)
            lengths.append(length)
            return update.samples / (total * length) if length else 0.0

        direction = weighted_sum(size, updates, weight)
        effective = sum(samples * length for samples, length in zip(updates.samples, lengths, strict=True)) / total
        if not effective:
            raise FusionError("no update tells of a step; fednova is for devices that say how many they took")
        direction *= effective
        return direction


class CountedSteps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sees to it that `local_momentum` is what the devices train with."""

    local_momentum: Fraction = 0.0

    def plan(self, base: TrainPlan) -> TrainPlan:
        """The job's own."""
        if base.optimiser not in {"sgd", "momentum"}:
            problem = f"is {base.optimiser!r}, and how far a device goes with that 'fednova' cannot tell from its steps"
            raise PlanError("optimiser", problem, "set it to 'sgd' or 'momentum'")
        momentum = base.momentum if base.optimiser == "momentum" else 0.0
        if momentum != self.local_momentum:
            problem = f"is {momentum} with this optimiser, and 'fednova' is told {self.local_momentum}"
            raise PlanError("momentum", problem, f"set strategy.options.local_momentum = {momentum}")
        return base


def path_length(steps: int, momentum: float) -> float:
    """‖a‖₁.

    >>> path_length(3, 0.0), path_length(2, 0.5)  # the second: 1 + 1.5
    (3.0, 2.5)
    """
    return (steps - momentum * (1.0 - momentum**steps) / (1.0 - momentum)) / (1.0 - momentum)
