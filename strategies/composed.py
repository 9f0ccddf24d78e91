"""A rule that is put together: pre-steps, then one way to combine the updates, then one server optimiser.

FedAvg is mean ∘ sgd, FedAdam mean ∘ adam, a robust rule trimmed mean ∘ sgd: any of the one with any of the other. What
the devices do may be a part of it as well: FedProx is FedAvg with another plan for them.
"""

from typing import ClassVar, NamedTuple, Protocol

from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from strategies.base import Combine, Fused, LocalPlan, PreStep, ServerOptimiser, State, Updates, check_finite


class Part(Protocol):
    """What may or may not know of staleness."""

    is_asynchronous: ClassVar[bool]


class Composed(NamedTuple):
    """See `strategies.base.Strategy` for what it promises."""

    combine: Combine
    server: ServerOptimiser
    before: tuple[PreStep, ...] = ()
    local: LocalPlan | None = None
    """None: the devices do what the job says."""

    @property
    def is_asynchronous(self) -> bool:
        """Whether all its parts know of staleness."""
        return knows_staleness(self.combine, self.before)

    @property
    def fewest(self) -> int:
        """Updates that a round cannot do without, as far as the options tell."""
        needed = getattr(self.combine, "fewest", 1)
        for pre_step in reversed(self.before):
            needed = pre_step.fewest_for(needed)
        return int(needed)

    @property
    def needs_root_set(self) -> bool:
        """Whether it compares updates with one that the aggregator has trained itself, `Updates.trusted`."""
        return bool(getattr(self.combine, "needs_root_set", False))

    def initial_state(self, size: int) -> State:
        """The server optimiser's: nothing else remembers."""
        return self.server.initial_state(size)

    def plan(self, round_number: int, base: TrainPlan, state: State) -> TrainPlan:
        """The job's own, or what `local` makes of it."""
        return self.local.plan(base) if self.local else base

    def broadcast(self, state: State) -> Vector | None:
        """Nothing: what is composed looks at weight differences alone."""
        return None

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """Prepare, combine, step. What is not finite reaches neither the server's memory nor the model."""
        direction = self.combine.combine(prepared(updates, self.before, weights.size), weights.size)
        check_finite(direction)
        fused = self.server.step(weights, direction, state)
        check_finite(fused.weights)
        return fused


def prepared(updates: Updates, before: tuple[PreStep, ...], size: int) -> Updates:
    """What the pre-steps make of the updates, one after the other."""
    for pre_step in before:
        updates = pre_step.prepare(updates, size)
    return updates


def knows_staleness(combine: Part, before: tuple[Part, ...]) -> bool:
    """Whether all of them do."""
    return all(part.is_asynchronous for part in (combine, *before))
