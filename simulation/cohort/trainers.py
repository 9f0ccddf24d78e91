"""The kernels that a worker has at hand: one for what everybody trains, one for the clients' own models."""

from typing import Literal

from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from simulation.cohort.kernels import Backend
from simulation.cohort.trainer import CohortTrainer

Whose = Literal["everybody", "own"]


class Trainers:
    """Each is made when it is first asked for, and anew when its plan changes."""

    def __init__(self, spec: ModelSpec, backend: Backend = "numpy") -> None:
        self._spec, self._backend = spec, backend
        self._made: dict[Whose, tuple[TrainPlan, CohortTrainer]] = {}

    def of(self, whose: Whose, plan: TrainPlan) -> CohortTrainer:
        """That for this plan."""
        known = self._made.pop(whose, None)
        if known is None or known[0] != plan:
            known = None  # its buffers go before the new ones come
            known = plan, CohortTrainer(self._spec, plan, backend=self._backend)
        self._made[whose] = known
        return known[1]
