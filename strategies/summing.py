"""What the rules that add updates up have in common: nothing to remember, the job's own plan, one weighted sum."""

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from strategies.base import State


class Stateless(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule without memory that lets devices train as the job says."""

    def initial_state(self, size: int) -> State:
        """Nothing to remember."""
        return State()

    def plan(self, round_number: int, base: TrainPlan, state: State) -> TrainPlan:
        """The job's plan as it is."""
        return base


def weighted_sum(size: int, weighted: Iterable[tuple[float, Vector]]) -> NDArray[np.float64]:
    """Σ s_k · Δ_k in one pass: O(p) memory, the same bits for the same updates in the same order."""
    total = np.zeros(size)
    scaled = np.empty(size)
    for weight, delta in weighted:
        np.multiply(delta, weight, out=scaled)
        total += scaled
    return total
