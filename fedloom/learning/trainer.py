"""Local training: what a device does with the global weights in a round."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from fedloom.learning.losses import encode_targets
from fedloom.learning.plan import TrainPlan
from fedloom.learning.schedules import learning_rate
from fedloom.learning.spec import ModelSpec
from fedloom.learning.step import TrainingStep

Stopped = Literal["epochs", "steps", "tolerance", "asked", "diverged"]


class FitResult(NamedTuple):
    """What came of a round of local training."""

    weights: Array
    """(p,) new vector; not finite if `stopped` is `diverged`."""
    samples: int
    """Samples in the data set."""
    steps: int
    """Gradient steps taken."""
    epochs: int
    """Epochs completed."""
    loss_sum: float
    """Σ of the samples' losses (class weights in, penalties out) in the last epoch, each before its own step."""
    loss_samples: int
    """Samples in `loss_sum`; fewer than `samples` if the last epoch was cut short."""
    stopped: Stopped
    """Why training ended. `diverged`: loss or weights are no longer finite."""
    rate_sum: float
    """Σ of the steps' learning rates."""

    @property
    def mean_loss(self) -> float:
        """Mean training loss of the last epoch; NaN if no step was taken."""
        return self.loss_sum / self.loss_samples if self.loss_samples else math.nan


class _Rows(NamedTuple):
    """The data of one fit, as the steps want it."""

    x: Array
    """(n, d)."""
    targets: Array
    """(n, k)."""
    weights: Array | None
    """(n,): each sample's class weight."""


class _Buffers:
    """What is allocated once for a batch size and used by every step."""

    def __init__(self, spec: ModelSpec, plan: TrainPlan, batch: int, dtype: DTypeLike) -> None:
        self.step = TrainingStep(spec, plan, 1, batch, dtype)
        shuffled = batch if plan.shuffle and plan.batch_size else 0
        self.x: Array = np.empty((shuffled, spec.inputs), dtype)
        self.targets: Array = np.empty((shuffled, spec.outputs), dtype)
        self.share: Array = np.empty(batch if plan.class_weights else 0, dtype)


class Trainer:
    """Trains by a plan. Keeps its buffers, so that the next round allocates only per data set."""

    def __init__(self, spec: ModelSpec, plan: TrainPlan, dtype: DTypeLike = np.float32) -> None:
        self.spec = spec
        self.plan = plan
        self._dtype = np.dtype(dtype)
        self._size = spec.layout().size
        self._buffers: _Buffers | None = None

    def fit(
        self,
        weights: Array,
        data: Dataset,
        rng: np.random.Generator,
        should_stop: Callable[[], bool] | None = None,
        linear: Array | None = None,
        anchor: Array | None = None,
    ) -> FitResult:
        """Train from `weights` (p,), which stay as they are. `rng` decides order and dropout, and nothing else.

        `should_stop` is called before every step: to end early, or to feed a watchdog. Keep it cheap. `linear` (p,) is
        added to each step's gradient, where the plan has a correction. A proximal term pulls towards `anchor` (p,);
        None is `weights`.

        Raises:
            ValueError: weights, data, `linear` or `anchor` do not fit the model and its plan.
        """
        rows = self._check(weights, data)
        if anchor is not None and anchor.shape != (self._size,):
            raise ValueError(f"an anchor of shape {anchor.shape} for a model of {self._size}")
        if linear is not None and (linear.shape != (self._size,) or self.plan.correction == "none"):
            correction = self.plan.correction
            raise ValueError(f"a linear term of shape {linear.shape}, {self._size} weights, correction {correction}")
        samples = len(rows.x)
        batch = min(self.plan.batch_size or samples, samples)
        if self._buffers is None or self._buffers.step.network.batch < batch:
            self._buffers = None  # let go of the old ones first
            self._buffers = _Buffers(self.spec, self.plan, batch, self._dtype)
        self._buffers.step.start(weights, 0.0 if linear is None else linear, anchor)
        # A diverging run ends in inf and NaN, which are looked for below, and is no reason for a warning a step.
        with np.errstate(over="ignore", invalid="ignore", under="ignore", divide="ignore"):
            return _Run(self.plan, self._buffers, rows, batch, rng, should_stop).fit()

    def _check(self, weights: Array, data: Dataset) -> _Rows:
        if weights.shape != (self._size,):
            raise ValueError(f"weights of shape {weights.shape} for a model of {self._size}")
        if data.x.ndim != 2 or data.x.shape[1] != self.spec.inputs:
            raise ValueError(f"features of shape {data.x.shape} for a model with {self.spec.inputs} inputs")
        if not len(data.x) or len(data.x) != len(data.y):
            raise ValueError(f"{len(data.x)} rows of features and {len(data.y)} targets")
        x = np.ascontiguousarray(data.x, self._dtype)
        targets = encode_targets(data.y, self.plan.loss, self.spec.outputs, self._dtype)
        classes = self.plan.class_weights
        expected = {"cross_entropy": self.spec.outputs, "binary_cross_entropy": 2}.get(self.plan.loss, 0)
        if classes and len(classes) != expected:
            raise ValueError(f"{len(classes)} class weights for {expected} classes")
        return _Rows(x, targets, np.array(classes, self._dtype)[data.y] if classes else None)


class _Run:
    """One call of `fit`."""

    def __init__(
        self,
        plan: TrainPlan,
        buffers: _Buffers,
        rows: _Rows,
        batch: int,
        rng: np.random.Generator,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._plan, self._step, self._rows, self._rng = plan, buffers.step, rows, rng
        self._buffers = buffers
        self._batch = batch
        self._samples = len(rows.x)
        self._should_stop = should_stop
        self._is_shuffled = plan.shuffle and batch < self._samples
        self._order = np.arange(self._samples, dtype=np.intp)
        self._values: Array = np.zeros((1, self._samples), rows.x.dtype)
        self._total_steps = plan.steps(self._samples)
        self._steps = 0
        self._rate_sum = 0.0
        self._done = 0
        self._loss_sum = 0.0

    def fit(self) -> FitResult:
        best, stale, epochs = math.inf, 0, 0
        stopped: Stopped = "epochs"
        for _ in range(self._plan.local_epochs):
            interrupted = self._epoch()
            if not math.isfinite(self._loss_sum):
                stopped = "diverged"
                break
            if interrupted:
                stopped = interrupted
                break
            epochs += 1
            mean = self._loss_sum / self._done
            stale = 0 if best - mean >= self._plan.tolerance else stale + 1
            best = min(best, mean)
            if self._plan.tolerance and stale >= self._plan.patience:
                stopped = "tolerance"
                break
        weights = self._step.network.weights[0].copy()
        if not np.isfinite(weights).all():
            stopped = "diverged"
        sums = self._loss_sum, self._done
        return FitResult(weights, self._samples, self._steps, epochs, *sums, stopped, self._rate_sum)

    def _epoch(self) -> Stopped | None:
        """One pass over the data; why it ended before its time, or None."""
        interrupted: Stopped | None = None
        if self._is_shuffled:
            self._rng.shuffle(self._order)
        start = 0
        while start < self._samples:
            if self._steps >= self._total_steps:
                interrupted = "steps"
            elif self._should_stop is not None and self._should_stop():
                interrupted = "asked"
            if interrupted:
                break
            stop = min(start + self._batch, self._samples)
            self._one_step(start, stop)
            start = stop
        if start:
            self._sum_losses(start)
        return interrupted

    def _one_step(self, start: int, stop: int) -> None:
        rows = stop - start
        step = self._step
        inputs = step.network.inputs(rows)
        if self._is_shuffled:
            chosen = self._order[start:stop]
            x, targets = self._buffers.x[:rows], self._buffers.targets[:rows]
            # mode="clip": the default copies through a buffer; our indices are in range anyway
            self._rows.x.take(chosen, axis=0, out=x, mode="clip")
            self._rows.targets.take(chosen, axis=0, out=targets, mode="clip")
        else:
            x, targets = self._rows.x[start:stop], self._rows.targets[start:stop]
        np.copyto(inputs, x)
        rate = learning_rate(self._plan, self._steps, self._total_steps)
        step.run(rows, targets[None], self._share(start, stop), rate, self._rng, self._values[:, start:stop])
        self._steps += 1
        self._rate_sum += rate

    def _share(self, start: int, stop: int) -> float | Array:
        """1/m, or (1, m, 1) of class weight/m: the mean does not depend on which classes a batch happens to hold."""
        if self._rows.weights is None:
            return 1.0 / (stop - start)
        share = self._buffers.share[: stop - start]
        self._rows.weights.take(self._order[start:stop], out=share, mode="clip")
        np.divide(share, stop - start, out=share)
        return share.reshape(1, -1, 1)

    def _sum_losses(self, done: int) -> None:
        values = self._values[0, :done]
        if self._rows.weights is not None:
            values = values * self._rows.weights[self._order[:done]]
        self._loss_sum = float(np.add.reduce(values, dtype=np.float64))
        self._done = done
