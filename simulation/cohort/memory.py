"""What a federation's clients keep between its rounds, as the job asks for it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.job import Job
from fedloom.learning.corrections import feddyn_change
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from simulation.cohort import own
from simulation.cohort.client_state import Held, Kept
from simulation.cohort.round import Asked, Done
from simulation.cohort.task import Mask
from simulation.population.base import Ids
from strategies.base import Matrix


class Truth(NamedTuple):
    """What liars have trained, and have not sent."""

    rows: NDArray[np.intp]
    """(f,) theirs among a round's."""
    deltas: Matrix
    """(f, b)"""
    controls: Matrix | None
    """(f, p) what would have been beside them."""


class ClientMemory:
    """Residuals of encodings, control variates, models of their own."""

    def __init__(self, job: Job, plan: TrainPlan) -> None:
        """`plan` is the first round's: what is kept is the same in each."""
        self._job = job
        self._residuals = Kept(job.shared_layout.size) if job.update.keeps_residual else None
        self._variates = Kept(job.model.layout().size) if plan.correction != "none" else None
        self._own = Kept(own.width(job)) if own.width(job) else None

    def asked(self, ids: Ids, evaluates: Mask, weights: Vector, *, trains: bool) -> Asked:
        """With what these clients bring to a round of the model `weights` (p,)."""
        mine = Held(self._own, ids, own.of_nobody(self._job, weights)) if self._own is not None else None
        if not trains:
            return Asked(ids, evaluates, own=mine)
        residuals = Held(self._residuals, ids) if self._residuals is not None else None
        variates = Held(self._variates, ids) if self._variates is not None else None
        return Asked(ids, evaluates, residuals, variates, mine)

    def residuals(self, ids: Ids) -> Matrix | None:
        """(c, b) what the encoding has lost of these clients' updates, a copy; None where there is nothing of that."""
        return self._residuals.of(ids) if self._residuals is not None else None

    def lost(self, ids: Ids, residuals: Matrix, is_in: Mask) -> None:
        """So much has been lost now, (c, b), of updates that count where `is_in` (c,)."""
        if self._residuals is not None:
            self._residuals.put(ids, np.where(is_in[:, None], residuals, np.float32(0.0)))

    def settled(self, asked: Asked, done: Done, is_in: Mask, plan: TrainPlan, truth: Truth | None = None) -> None:
        """A round of training is over, and the updates of those that are in are in the model: nobody's, if it failed.

        Variates advance with what counts (`edge_client.variate`). What an encoding has lost goes with an update that
        does not count (`edge_client.rounds`). A model of a client's own goes on. Of liars `truth` says by what variates
        advance.
        """
        if self._own is not None and done.own is not None:
            self._own.put_some(asked.ids, done.own, done.keeps)
        if self._residuals is not None and done.residuals is not None:
            done.residuals[~is_in] = 0.0
            self._residuals.put_some(asked.ids, done.residuals, done.is_able)
        if self._variates is not None and asked.variates is not None:
            rows = np.flatnonzero(is_in)
            changes = feddyn_change(done.deltas, plan.proximal_mu) if done.controls is None else done.controls
            if truth is not None:
                meant = feddyn_change(truth.deltas, plan.proximal_mu) if truth.controls is None else truth.controls
                changes[truth.rows] = meant
            self._variates.put(asked.ids[rows], asked.variates.rows(rows) + changes[rows])
