"""What clients measure of a model: metric sums of many hold-outs in one pass, losses by client."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fedloom.job import Job
from fedloom.learning.blocks import logits_in_blocks
from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate, measured
from fedloom.learning.layout import Array, Vector
from fedloom.learning.losses import encode_targets, loss_function
from fedloom.learning.metrics import HEAD, Metrics, Sums
from fedloom.learning.network import Network
from fedloom.learning.spec import ModelSpec
from simulation.population.base import Samples

_AT_ONCE = 32
"""Clients' own models."""


def metric_sums(job: Job, weights: Vector, data: Dataset) -> Sums:
    """(m,) of one model, as `fedloom.learning.metrics` lays them out; NaN or infinite where the loss is."""
    plan = job.training
    if not data.samples:
        return Metrics.zero(plan.loss, job.model.outputs).sums
    with np.errstate(over="ignore", invalid="ignore"):
        return evaluate(job.model, plan.loss, weights, data, plan.huber_delta).sums


def by_client(job: Job, weights: Array, data: Dataset, held: Samples) -> Sums:
    """(c, m) of one model (p,), or of a model each (c, p); `data` are the rows of `held`."""
    loss, outputs = job.training.loss, job.model.outputs
    sums = np.zeros((len(held.sizes), Metrics.length(loss, outputs)))
    targets = encode_targets(data.y, loss, outputs)
    with np.errstate(over="ignore", invalid="ignore"):
        logits = _logits(job.model, weights, data.x, held)
        for own, (start, stop) in zip(sums, pairwise(held.starts.tolist()), strict=True):
            if stop > start:
                part = slice(start, stop)
                own[HEAD:] = measured(loss, logits[part], data.y[part], targets[part])
        values = np.empty((1, len(logits)), np.float32)
        loss_function(loss, job.training.huber_delta)(logits[None], targets[None], 1.0, values)
        has_any = held.sizes > 0
        sums[:, 0] = held.sizes
        if has_any.any():
            sums[has_any, 1] = np.add.reduceat(values[0], held.starts[:-1][has_any], dtype=np.float64)
    return sums


def _logits(spec: ModelSpec, weights: Array, x: Array, held: Samples) -> Array:
    """(Σn, outputs)"""
    found = np.empty((len(x), spec.outputs), np.float32)
    if weights.ndim == 1:
        for rows, logits in logits_in_blocks(spec, weights, x):
            found[rows] = logits[0]
        return found
    for first in range(0, len(weights), _AT_ONCE):
        own = weights[first : first + _AT_ONCE]
        starts = held.starts[first : first + len(own) + 1]
        is_there = np.arange(np.diff(starts).max(initial=0)) < np.diff(starts)[:, None]
        if not is_there.size:
            continue
        network = Network(spec, len(own), is_there.shape[1], trains=False)
        network.weights[:] = own
        network.inputs(network.batch)[is_there] = x[starts[0] : starts[-1]]
        found[starts[0] : starts[-1]] = network.forward(network.batch)[is_there]
    return found


def mean_losses(job: Job, weights: Vector, data: Dataset, samples: Samples) -> NDArray[np.float64]:
    """(c,) of one model on the rows of each client, which `data` are, and of which none has no row."""
    loss = job.training.loss
    function, targets = loss_function(loss, job.training.huber_delta), encode_targets(data.y, loss, job.model.outputs)
    values: Array = np.empty((1, data.samples), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows, logits in logits_in_blocks(job.model, weights, data.x):
            function(logits, targets[None, rows], 1.0, values[:, rows])
        total: NDArray[np.float64] = np.add.reduceat(values[0], samples.starts[:-1], dtype=np.float64)
        return total / samples.sizes
