"""What a worker reads of the population: samples as the kernel wants them, and as evaluation does."""

import numpy as np

from fedloom.data.prepare import REGRESSION
from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from simulation.cohort.shards import Shards
from simulation.cohort.task import Context, Mask
from simulation.population.base import Ids, Samples
from simulation.world.attacks import flipped


def shards(context: Context, ids: Ids, samples: Samples, round_number: int) -> Shards:
    """To train on: rows of the pool, or of a copy where these clients see something else than the pool has."""
    altered = _altered(context, ids, samples)
    if (flips := _flips(context, ids, samples, round_number)) is not None:
        x = context.x[samples.rows] if altered is None else altered
        return _copied(context, x, samples, flips)
    if altered is None:
        return Shards(context.x, context.targets, samples.rows, samples.starts, context.row_weights)
    return _copied(context, altered, samples)


def dataset(context: Context, ids: Ids, samples: Samples) -> Dataset:
    """(Σn, d) and targets, a copy."""
    return Dataset(features(context, ids, samples), context.population.pool.y[samples.rows])


def trained_on(context: Context, ids: Ids, samples: Samples, round_number: int) -> Dataset:
    """As `dataset`, with the labels that these clients train with."""
    data = dataset(context, ids, samples)
    if (flips := _flips(context, ids, samples, round_number)) is None:
        return data
    is_regression = context.job.training.loss in REGRESSION
    wrong = -data.y if is_regression else max(context.job.model.outputs, 2) - 1 - data.y
    return data._replace(y=np.where(flips.reshape(-1, *[1] * (data.y.ndim - 1)), wrong, data.y))


def features(context: Context, ids: Ids, samples: Samples) -> Array:
    """(Σn, d) as the model sees them, a copy."""
    altered = _altered(context, ids, samples)
    x: Array = context.x[samples.rows] if altered is None else altered
    return x


def _copied(context: Context, x: Array, samples: Samples, flips: Mask | None = None) -> Shards:
    """Of features x (Σn, d), with the targets of some of them flipped."""
    weights = None if context.row_weights is None else context.row_weights[samples.rows]
    targets = context.targets[samples.rows]
    if flips is not None:
        targets[flips] = flipped(targets[flips], context.job.training.loss in REGRESSION)
    return Shards(x, targets, np.arange(len(samples.rows)), samples.starts, weights)


def _flips(context: Context, ids: Ids, samples: Samples, round_number: int) -> Mask | None:
    """(Σn,) which of the samples have a wrong label; None: none of them."""
    if context.attackers is None or not context.attackers.flip_labels:
        return None
    is_attacker = context.attackers.among(ids, round_number)
    return np.repeat(is_attacker, samples.sizes) if is_attacker.any() else None


def _altered(context: Context, ids: Ids, samples: Samples) -> Array | None:
    raw = context.population.features(ids, samples)
    if raw is None or context.standardiser is None:
        return raw
    return context.standardiser.apply(raw)
