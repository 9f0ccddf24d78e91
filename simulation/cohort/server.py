"""The aggregator's side of a simulated job: its rule, what that remembers, and the model as it is now."""

from pathlib import Path

from aggregator.initial import initial_model
from aggregator.model import described
from aggregator.records import CurrentModel
from aggregator.root_set import RootSet
from aggregator.rule import apply_rule, load_state
from fedloom.job import Job
from fedloom.learning.layout import Vector
from fedloom.learning.model import Model
from fedloom.learning.plan import TrainPlan
from fedloom.learning.standardise import Standardiser
from simulation.cohort.updates import Figures, RoundUpdates
from strategies import create_for, first_plan
from strategies.base import Matrix


class Server:
    """Changes where `fuse` succeeds."""

    def __init__(self, job: Job, where: Path, root_set: RootSet | None = None) -> None:
        """`where` is the job's file, beside which a model to start from lies.

        Raises:
            InputError: the job's rule is unknown or does not go with the rest of it, or its first model is wrong.
        """
        self._job, self._root_set = job, root_set
        self._strategy = create_for(job, str(where))
        initial = initial_model(job, where)
        self.weights: Vector = initial.weights
        """(p,)"""
        self.standardiser: Standardiser | None = initial.standardiser
        self.version = 0
        """How often it was fused."""
        self.first_plan = first_plan(self._strategy, job)
        self._state = load_state(b"", self._strategy, job.shared_layout.size)

    def plan(self, round_number: int) -> TrainPlan:
        """What the clients shall do."""
        return self._strategy.plan(round_number, self._job.training, self._state)

    def broadcast(self) -> Vector | None:
        """(p,) that goes out beside the model."""
        return self._strategy.broadcast(self._state)

    def fuse(self, round_number: int, figures: Figures, deltas: Matrix, controls: Matrix | None) -> None:
        """Make the next model of the updates of a round.

        Raises:
            FusionError: nothing has changed.
        """
        trusted, state, shared = None, self._state, self._job.shared_layout.size
        if self._root_set:
            plan = self._strategy.plan(round_number, self._job.training, state)
            trained = self._root_set.update(round_number, plan, self.weights, self.standardiser)
            trusted = trained[:shared]
        updates = RoundUpdates(figures, deltas, controls, trusted)
        self.weights, kept = apply_rule(self._strategy, self._job, self.weights, updates, state)
        self._state = load_state(kept, self._strategy, shared)
        self.version += 1

    def model(self) -> Model:
        """As a file has it."""
        now = CurrentModel(self.version, self.weights, self.standardiser)
        return described(now, self._job, {"job": self._job.name, "version": str(self.version)})
