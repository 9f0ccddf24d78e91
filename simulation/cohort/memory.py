"""What a federation's clients keep between its rounds, as the job asks for it."""

import numpy as np

from fedloom.job import Job
from fedloom.learning.corrections import feddyn_change
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from simulation.cohort import own
from simulation.cohort.client_state import Kept
from simulation.cohort.round import Asked, Done
from simulation.cohort.task import Mask
from simulation.population.base import Ids


class ClientMemory:
    """Residuals of encodings, control variates, models of their own."""

    def __init__(self, job: Job, plan: TrainPlan) -> None:
        """`plan` is the first round's: what is kept is the same in each."""
        self._job = job
        self._residuals = Kept(job.shared_layout.size) if job.update.encoding != "float32" else None
        self._variates = Kept(job.model.layout().size) if plan.correction != "none" else None
        self._own = Kept(own.width(job)) if own.width(job) else None

    def asked(self, ids: Ids, evaluates: Mask, weights: Vector, *, trains: bool) -> Asked:
        """With what these clients bring to a round of the model `weights` (p,)."""
        mine = self._own.of(ids, own.of_nobody(self._job, weights)) if self._own else None
        if not trains:
            return Asked(ids, evaluates, own=mine)
        residuals = self._residuals.of(ids) if self._residuals else None
        variates = self._variates.of(ids) if self._variates else None
        return Asked(ids, evaluates, residuals, variates, mine)

    def trained(self, asked: Asked, done: Done) -> None:
        """They keep what does not depend on whether the round is fused."""
        if self._residuals and done.residuals is not None:
            self._residuals.put(asked.ids, done.residuals)
        if self._own and done.own is not None:
            self._own.put(asked.ids, done.own)

    def counted(self, asked: Asked, done: Done, is_in: Mask, plan: TrainPlan) -> None:
        """The updates of those that are in are in the model: their variates advance, see `edge_client.variate`."""
        if self._variates is None or asked.variates is None:
            return
        changes = feddyn_change(done.deltas, plan.proximal_mu) if done.controls is None else done.controls
        rows = np.flatnonzero(is_in)
        self._variates.put(asked.ids[rows], asked.variates[rows] + changes[rows])
