"""What clients measure of a model: metric sums of many hold-outs in one pass, losses by client."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fedloom.job import Job
from fedloom.learning.blocks import logits_in_blocks
from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate
from fedloom.learning.layout import Array, Vector
from fedloom.learning.losses import loss_function
from fedloom.learning.metrics import Metrics, Sums
from simulation.population.base import Samples


def metric_sums(job: Job, weights: Vector, data: Dataset) -> Sums:
    """(m,) of one model, as `fedloom.learning.metrics` lays them out; NaN or infinite where the loss is."""
    plan = job.training
    if not data.samples:
        return Metrics.zero(plan.loss, job.model.outputs).sums
    with np.errstate(over="ignore", invalid="ignore"):
        return evaluate(job.model, plan.loss, weights, data, plan.huber_delta).sums


def by_client(job: Job, weights: Sequence[Vector], data: Dataset, held: Samples) -> Sums:
    """(c, m) of a model each; `data` are the rows of `held`."""
    ends = held.starts.tolist()
    parts = [Dataset(data.x[a:b], data.y[a:b]) for a, b in pairwise(ends)]
    return np.stack([metric_sums(job, own, part) for own, part in zip(weights, parts, strict=True)])


def mean_losses(job: Job, weights: Vector, x: Array, targets: Array, samples: Samples) -> NDArray[np.float64]:
    """(c,) of one model on the rows x (Σn, d) of each client, of which none has no row."""
    function = loss_function(job.training.loss, job.training.huber_delta)
    values: Array = np.empty((1, len(x)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows, logits in logits_in_blocks(job.model, weights, x):
            function(logits, targets[None, rows], 1.0, values[:, rows])
        total: NDArray[np.float64] = np.add.reduceat(values[0], samples.starts[:-1], dtype=np.float64)
        return total / samples.sizes
