"""One chunk of clients in one round: what `edge_client.training` does on a device, for all of them at once."""

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from fedloom.learning.metrics import Metrics, Sums
from fedloom.learning.plan import TrainPlan
from simulation.cohort import reading
from simulation.cohort.measuring import by_client, mean_losses, metric_sums
from simulation.cohort.outcome import nothing
from simulation.cohort.own import Own
from simulation.cohort.sending import CONTROL, UPDATE, Sending, changes
from simulation.cohort.task import Common, Context, Mask, Outcome, Task
from simulation.cohort.trainer import CohortFit
from simulation.cohort.trainers import Trainers, Whose
from simulation.population.base import Samples
from strategies.base import Matrix

SALTS: dict[Whose, tuple[int, ...]] = {"everybody": (), "own": (3,)}
"""They set random numbers apart; 1 and 2 are those that draw the cohorts (`simulation.cohort.choosing`)."""


class Chunk:
    """Its clients stand in the task's order; who declines takes part in nothing that comes after."""

    def __init__(self, context: Context, trainers: Trainers, common: Common, task: Task) -> None:
        self._context, self._trainers, self._common, self._task = context, trainers, common, task
        self._job = context.job
        self._own = Own(context.job, common.weights, task.own)
        self._able = np.arange(len(task.ids))
        """(a,) the places of those that have not declined."""
        self._outcome = nothing(len(task.ids))

    def evaluate(self) -> Outcome:
        """The model, and the clients' own, which are fine-tuned first where the job asks for that."""
        has_none = self._context.population.holdout(self._task.ids).sizes == 0
        self._decline(np.flatnonzero(has_none), "there are no hold-out samples to evaluate on")
        if self._own.method == "fine_tune":
            self._own.spread(len(self._task.ids))
            self._train_own()
        return self._outcome._replace(metrics=self.measured())

    def train(self, deltas: Matrix) -> Outcome:
        """Evaluate who shall, then train; `deltas` (c, b) receives what arrives of the updates, else zeros."""
        metrics = self.measured()
        if self._own.method == "ditto":
            self._train_own()
        if self._common.plan.measure_loss:
            self._measure_losses()
        keeps = self._outcome.keeps
        keeps[self._able] = True
        self._train_everybody(deltas)
        controls = self._controls(deltas)
        trained = self._able
        residuals = self._send(deltas, controls)
        keeps[trained] = False
        keeps[self._able] = True
        own = self._own.kept() if self._task.own is not None else None
        return self._outcome._replace(metrics=metrics, residuals=residuals, controls=controls, own=own)

    def measured(self) -> Sums:
        """(figures, m) of the models that there are, on the hold-outs of those who shall evaluate."""
        places = np.flatnonzero(self._task.evaluates)
        prefixes = self._job.figures_of(trains=self._common.trains)
        if not places.size:
            return np.zeros((len(prefixes), Metrics.length(self._job.training.loss, self._job.model.outputs)))
        ids = self._task.ids[places]
        held = self._context.population.holdout(ids)
        data = reading.dataset(self._context, ids, held)
        total = metric_sums(self._job, self._common.weights, data)
        is_finite: Mask = np.ones(len(places), np.bool_)
        if not np.isfinite(total).all():
            sums = by_client(self._job, self._common.weights, data, held)
            is_finite = np.asarray(np.isfinite(sums).all(axis=1))
            total = sums[is_finite].sum(axis=0)
            self._decline(places[~is_finite], "the global model's loss on this device's hold-out is not finite")
        if len(prefixes) == 1:
            return total[None]
        mine = self._measured_own(places, data, held)
        return np.stack([total, mine[is_finite].sum(axis=0)])

    def _measured_own(self, places: NDArray[np.intp], data: Dataset, held: Samples) -> Sums:
        """(e, m): one that is not finite begins again."""
        mine = by_client(self._job, self._own.of(places), data, held)
        for row in np.flatnonzero(~np.isfinite(mine).all(axis=1)).tolist():
            self._own.begin_again(places[row : row + 1])
            part = slice(held.starts[row], held.starts[row + 1])
            mine[row] = metric_sums(self._job, self._common.weights, Dataset(data.x[part], data.y[part]))
        return mine

    def _training(self) -> Samples:
        """Of those that are able."""
        return self._context.population.training(self._task.ids[self._able])

    def _train_own(self) -> None:
        """From where they are; what diverges begins again as the federation's."""
        personal = self._job.personal
        assert personal is not None  # noqa: S101 - for the type checker: callers have looked
        fit = self._fit("own", personal.plan(self._common.plan), self._own.weights, anchor=self._common.weights)
        self._own.take(self._able, fit)

    def _measure_losses(self) -> None:
        """Of what the training starts from, on what each trains on."""
        samples = self._training()
        able, ids = self._able, self._task.ids[self._able]
        data = reading.trained_on(self._context, ids, samples, self._common.round)
        if self._own.start.ndim == 1:
            losses = mean_losses(self._job, self._own.start, data, samples)
        else:
            sums = by_client(self._job, self._own.of(able), data, samples)
            losses = sums[:, 1] / sums[:, 0]
        is_finite = np.isfinite(losses)
        self._outcome.losses[able[is_finite]] = losses[is_finite]
        reason = "the global model's loss on this device's training samples is not finite"
        self._decline(able[~is_finite], reason)

    def _train_everybody(self, deltas: Matrix) -> None:
        """Fill in deltas and figures."""
        term = self._term()
        is_direct = len(self._able) == len(deltas) and deltas.shape[1] == self._common.weights.size
        fit = self._fit("everybody", self._common.plan, self._own.start, term, out=deltas if is_direct else None)
        able, is_sound = self._able, ~fit.diverged
        trained = able[is_sound]
        if not is_direct:
            deltas[able] = fit.deltas[:, : deltas.shape[1]]
        if len(trained) < len(deltas):
            deltas[np.isin(np.arange(len(deltas)), trained, invert=True)] = 0.0
        found = (fit.samples, fit.steps, fit.loss_sum, fit.rate_sum)
        given = (self._outcome.samples, self._outcome.steps, self._outcome.train_losses, self._outcome.rate_sums)
        for figures, figure in zip(given, found, strict=True):
            figures[trained] = figure[is_sound]
        if self._own.method == "head":
            self._own.take(able, fit)
        self._decline(able[~is_sound], "training diverged: weights or loss are not finite")

    def _fit(
        self,
        whose: Whose,
        plan: TrainPlan,
        start: Array,
        linear: Array | None = None,
        anchor: Array | None = None,
        out: Matrix | None = None,
    ) -> CohortFit:
        """Of those that are able; `start`, (p,) or (c, p), and `linear` are of all of the chunk."""
        samples = self._training()
        shards = reading.shards(self._context, self._task.ids[self._able], samples, self._common.round)
        rng = np.random.default_rng([self._job.seed, self._common.round, self._task.chunk, *SALTS[whose]])
        linear = None if linear is None else self._of_able(linear)
        start = start if start.ndim == 1 else self._of_able(start)
        return self._trainers.of(whose, plan).fit(start, shards, rng, linear, anchor, out)

    def _of_able(self, matrix: Array) -> Array:
        rows: Array = matrix if len(self._able) == len(matrix) else matrix[self._able]
        return rows

    def _term(self) -> Array | None:
        """(c, p) added to each step's gradient: fedloom.learning.corrections."""
        own, control = self._task.variates, self._common.control
        if own is None:
            return None
        return -own if control is None else control - own

    def _controls(self, deltas: Matrix) -> Matrix | None:
        """(c, p) what travels beside the deltas."""
        control = self._common.control
        return None if control is None else changes(deltas, self._outcome.rate_sums, control)

    def _send(self, deltas: Matrix, controls: Matrix | None) -> Matrix | None:
        """Put in their places what arrives of them; returns (c, b) what the encoding has lost by now.

        What is not sent as it was trained stays as it is: see `simulation.cohort.lies`.
        """
        sending, honest = Sending(self._job, self._common.round, self._task.ids), self._honest()
        residuals = self._task.residuals
        if residuals is None:
            refused = sending.exchange(deltas, honest, UPDATE)
        else:
            refused, residuals = sending.with_feedback(deltas, honest, residuals)
        self._refuse(refused, deltas)
        if controls is not None:
            self._refuse(sending.exchange(controls, np.intersect1d(honest, self._able), CONTROL), deltas)
        return residuals

    def _honest(self) -> NDArray[np.intp]:
        """(h,) the places of those that are able, and send what they have trained."""
        attackers = self._context.attackers
        if attackers is None:
            return self._able
        return self._able[~attackers.forging(self._task.ids[self._able], self._common.round)]

    def _refuse(self, refused: dict[int, str], deltas: Matrix) -> None:
        for place, reason in refused.items():
            deltas[place] = 0.0
            self._decline(np.array([place]), reason)

    def _decline(self, places: NDArray[np.intp], reason: str) -> None:
        if not places.size:
            return
        self._outcome.declined.update(dict.fromkeys(places.tolist(), reason))
        self._able = self._able[~np.isin(self._able, places)]
