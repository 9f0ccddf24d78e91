"""The reference of the cohort kernel: `fedloom.learning.trainer.Trainer` for one client after the other."""

import numpy as np
from numpy.typing import DTypeLike

from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from fedloom.learning.plan import Loss, TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.trainer import FitResult, Trainer
from simulation.cohort.fit import CohortFit
from simulation.cohort.shards import Shards


class OneByOne:
    """As slow as a device, as right as a device."""

    def __init__(self, spec: ModelSpec, plan: TrainPlan, dtype: DTypeLike = np.float32) -> None:
        self._trainer = Trainer(spec, plan, dtype)
        self._loss = plan.loss

    def fit(
        self,
        start: Array,
        shards: Shards,
        rng: np.random.Generator,
        linear: Array | None = None,
        anchor: Array | None = None,
    ) -> CohortFit:
        """Each client from `start`, (p,) for all or (c, p); `linear` and `anchor`, likewise, as in `Trainer`."""
        fits = []
        for client in range(len(shards.starts) - 1):
            rows = shards.rows[shards.starts[client] : shards.starts[client + 1]]
            data = Dataset(shards.x[rows], decoded(shards.targets[rows], self._loss))
            own = [None if each is None else _of(each, client) for each in (linear, anchor)]
            fits.append(self._trainer.fit(_of(start, client), data, rng, None, *own))
        with np.errstate(over="ignore", invalid="ignore"):
            deltas = np.stack([fit.weights for fit in fits]) - start
        return _stacked(deltas, fits)


def decoded(targets: Array, loss: Loss) -> Array:
    """What `encode_targets` was given."""
    match loss:
        case "cross_entropy":
            classes: Array = targets.argmax(axis=1)
            return classes
        case "binary_cross_entropy":
            return targets[:, 0].astype(np.int64)
        case _:
            return targets


def _of(vectors: Array, client: int) -> Array:
    own: Array = vectors if vectors.ndim == 1 else vectors[client]
    return own


def _stacked(deltas: Array, fits: list[FitResult]) -> CohortFit:
    return CohortFit(
        deltas,
        np.array([fit.samples for fit in fits], np.intp),
        np.array([fit.steps for fit in fits], np.intp),
        np.array([fit.epochs for fit in fits], np.intp),
        np.array([fit.loss_sum for fit in fits]),
        np.array([fit.loss_samples for fit in fits], np.intp),
        np.array([fit.stopped == "diverged" for fit in fits]),
        np.array([fit.rate_sum for fit in fits]),
    )
