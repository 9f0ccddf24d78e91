"""A rule that is put together: pre-steps, then one way to combine the updates, then one server optimiser.

FedAvg is mean ∘ sgd, FedAdam mean ∘ adam, a robust rule trimmed mean ∘ sgd: any of the one with any of the other.
"""

from typing import NamedTuple

from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from strategies.base import Combine, Fused, PreStep, ServerOptimiser, State, Updates, check_finite


class Composed(NamedTuple):
    """See `strategies.base.Strategy` for what it promises."""

    combine: Combine
    server: ServerOptimiser
    before: tuple[PreStep, ...] = ()

    @property
    def is_asynchronous(self) -> bool:
        """Whether the combination knows of staleness."""
        return self.combine.is_asynchronous

    def initial_state(self, size: int) -> State:
        """The server optimiser's: nothing else remembers."""
        return self.server.initial_state(size)

    def plan(self, round_number: int, base: TrainPlan, state: State) -> TrainPlan:
        """The job's plan as it is."""
        return base

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """Prepare, combine, step. What is not finite reaches neither the server's memory nor the model."""
        for pre_step in self.before:
            updates = pre_step.prepare(updates, weights.size)
        direction = self.combine.combine(updates, weights.size)
        check_finite(direction)
        fused = self.server.step(weights, direction, state)
        check_finite(fused.weights)
        return fused
