"""Local training of a whole cohort: what `fedloom.learning.trainer` does for one device, for many clients in lock step.

The results are a device's but for the order of its samples, which is drawn for all at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedloom.learning.layout import Array
from fedloom.learning.plan import TrainPlan
from fedloom.learning.schedules import learning_rate
from fedloom.learning.spec import ModelSpec
from simulation.cohort.affine import is_affine
from simulation.cohort.blocked import BLOCK_ROWS
from simulation.cohort.kernels import Backend, kernel
from simulation.cohort.schedule import Group, Schedule, groups
from simulation.cohort.shards import Positions, Shards
from simulation.cohort.steps import Rows, Walker

GROUP_BYTES = 4 << 20
"""Of weights and buffers that a group works on: what the processor's caches hold. Measured with 784-200-200-10 and
64-32-10; between half and twice as much makes little difference."""
MAX_GROUP = 500
TORCH_BYTES = 1 << 30
"""In the place of `GROUP_BYTES`, where a step costs the same for many clients as for few."""
_KEPT_WALKERS = 4


class CohortFit(NamedTuple):
    """What came of a round of local training, for c clients; as `FitResult`, column by column."""

    deltas: Array
    """(c, p) new weights less those that the client started from; not finite where `diverged`, zero without samples."""
    samples: NDArray[np.intp]
    """(c,) samples that a client has."""
    steps: NDArray[np.intp]
    epochs: NDArray[np.intp]
    """(c,) epochs completed."""
    loss_sum: NDArray[np.float64]
    """(c,) Σ of the samples' losses in the last epoch, each before its own step."""
    loss_samples: NDArray[np.intp]
    diverged: NDArray[np.bool_]
    """(c,) whether loss or weights are no longer finite."""
    rate_sum: NDArray[np.float64]
    """(c,) Σ of the steps' learning rates."""


class CohortTrainer:
    """Trains by a plan. Keeps its buffers from group to group and from round to round."""

    def __init__(
        self, spec: ModelSpec, plan: TrainPlan, dtype: DTypeLike = np.float32, backend: Backend = "numpy"
    ) -> None:
        self.spec, self.plan = spec, plan
        self._backend = backend
        self._dtype = np.dtype(dtype)
        self._make = kernel(backend, spec, plan, self._dtype)
        self._size = spec.layout().size
        self._walkers: dict[tuple[int, int], Walker] = {}

    def fit(
        self,
        start: Array,
        shards: Shards,
        rng: np.random.Generator,
        linear: Array | None = None,
        anchor: Array | None = None,
        out: Array | None = None,
    ) -> CohortFit:
        """Train every client from `start`, which is (p,) for all or (c, p); `linear` and `anchor` as in `Trainer.fit`,
        each (p,) or (c, p). `rng` decides order and dropout, and nothing else.
        The deltas are put into `out` (c, p), if given.
        """
        samples = shards.samples
        count = len(samples)
        deltas: Array = np.empty((count, self._size), self._dtype) if out is None else out
        deltas[samples == 0] = 0.0
        fit = CohortFit(
            deltas,
            samples,
            np.zeros(count, np.intp),
            np.zeros(count, np.intp),
            np.zeros(count),
            np.zeros(count, np.intp),
            np.zeros(count, np.bool_),
            np.zeros(count),
        )
        # A diverging client ends in inf and NaN, which are looked for below, and is no reason for a warning a step.
        with np.errstate(over="ignore", invalid="ignore", under="ignore", divide="ignore"):
            for group in groups(samples, self.plan, self._largest_group(samples)):
                schedule = Schedule(group, shards, self.plan, rng)
                walker = self._walker(group)
                given = (None if each is None else _of(each, group.clients) for each in (linear, anchor))
                term, centre = given
                walker.start(_of(start, group.clients), 0.0 if term is None else term, centre)
                _Walk(self.plan, group, schedule, walker, fit, _of(start, group.clients)).take(shards, rng)
            np.logical_or(fit.diverged, ~np.isfinite(fit.deltas.sum(axis=1)), out=fit.diverged)
        return fit

    def _largest_group(self, samples: NDArray[np.intp]) -> int:
        bound = TORCH_BYTES if self._backend == "torch" else GROUP_BYTES
        return largest_group(self.spec, self.plan, int(samples.max(initial=1)), bound // self._dtype.itemsize)

    def _walker(self, group: Group) -> Walker:
        key = len(group.clients), group.batch
        walker = self._walkers.pop(key, None)
        if walker is None:
            if len(self._walkers) >= _KEPT_WALKERS:
                del self._walkers[next(iter(self._walkers))]  # the one that was not used for longest
            walker = self._make(*key)
        self._walkers[key] = walker
        return walker


def largest_group(spec: ModelSpec, plan: TrainPlan, samples: int, most_numbers: int = GROUP_BYTES // 4) -> int:
    """Clients with so many samples at most whose weights and blocks are no more than `most_numbers`."""
    batch = min(plan.batch_size or samples, samples)
    rows = max(batch, min(BLOCK_ROWS, samples)) if is_affine(plan) else batch
    numbers = spec.layout().size + rows * (spec.inputs + 3 * max(spec.widths[1:]))
    return max(1, min(MAX_GROUP, most_numbers // numbers))


def _of(values: Array, clients: NDArray[np.intp]) -> Array:
    """(p,) as it is; of (c, p) the clients' rows."""
    return values if values.ndim == 1 else values[clients]


def _places(numbers: Positions) -> Rows:
    """A slice where clients are alike."""
    if len(numbers) and (np.diff(numbers) == 1).all():
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    return numbers


class _Walk:
    """One group's local training."""

    def __init__(
        self, plan: TrainPlan, group: Group, schedule: Schedule, walker: Walker, fit: CohortFit, start: Array
    ) -> None:
        self._plan, self._group, self._schedule, self._walker = plan, group, schedule, walker
        self._fit, self._start = fit, start
        total = schedule.total_steps
        self._rates = [learning_rate(plan, step, total) for step in range(total)]
        self._values: Array = np.zeros((group.epoch_steps, len(group.clients), group.batch), fit.deltas.dtype)

    def take(self, shards: Shards, rng: np.random.Generator) -> None:
        """All steps, and then the group's rows of the result."""
        everybody = np.arange(len(self._group.clients))
        if not self._plan.tolerance:
            self._steps(0, self._schedule.total_steps, shards, rng)
            self._finish(everybody, self._schedule.total_steps)
            return
        going, best, stale = everybody, np.full(len(everybody), np.inf), np.zeros(len(everybody), np.intp)
        length, total = self._group.epoch_steps, self._schedule.total_steps
        for first in range(0, total, length):
            self._steps(first, min(first + length, total), shards, rng)
            sums, counts = self._losses(min(length, total - first))
            mean = sums / counts
            stale = np.where(best - mean >= self._plan.tolerance, 0, stale + 1)
            best = np.fmin(best, mean)
            is_done = (stale >= self._plan.patience) | (first + length >= total)
            self._finish(going[is_done[going]], min(first + length, total))
            going = going[~is_done[going]]
            if not len(going):
                return

    def _steps(self, first: int, last: int, shards: Shards, rng: np.random.Generator) -> None:
        """These steps; blocks never cross the end of an epoch if somebody looks at its losses."""
        length, stride = self._group.epoch_steps, min(self._walker.stride, last - first)
        values = np.empty((stride, *self._values.shape[1:]), self._values.dtype)
        for begin in range(first, last, stride):
            end = min(begin + stride, last)
            self._walker.walk(shards, self._schedule, begin, self._rates[begin:end], rng, values[: end - begin])
            taken = values[: end - begin]
            if shards.row_weights is not None:
                np.multiply(taken, shards.row_weights[self._schedule.rows(begin, end)], out=taken)
            for step in range(begin, end):
                self._values[step % length] = taken[step - begin]

    def _losses(self, steps: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Σ of the losses, and of how many samples, in an epoch's first steps; (g,) each."""
        values = self._values[:steps]
        if self._schedule.filled is None:
            counts = np.full(values.shape[1], steps * values.shape[2], np.intp)
        else:
            filled = self._schedule.filled[:steps]
            counts = filled.sum(axis=(0, 2)).astype(np.intp)
            values = np.where(filled > 0, values, 0.0)
        return values.sum(axis=(0, 2), dtype=np.float64), counts

    def _finish(self, which: NDArray[np.intp], steps: int) -> None:
        """These of the group's clients have taken their last step."""
        fit, clients = self._fit, self._group.clients[which]
        length = self._group.epoch_steps
        sums, counts = self._losses(steps - (steps - 1) // length * length)
        start = self._start if self._start.ndim == 1 else self._start[which]
        rows, own = _places(clients), _places(which)
        self._walker.read(own, start, fit.deltas, rows)
        fit.steps[clients] = steps
        fit.epochs[clients] = steps // length
        fit.loss_sum[clients], fit.loss_samples[clients] = sums[which], counts[which]
        fit.diverged[clients] |= ~np.isfinite(sums[which])
        fit.rate_sum[clients] = sum(self._rates[:steps])
