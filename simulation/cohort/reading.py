"""What a worker reads of the population: samples as the kernel wants them, and as evaluation does."""

import numpy as np

from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from simulation.cohort.shards import Shards
from simulation.cohort.task import Context
from simulation.population.base import Ids, Samples


def shards(context: Context, ids: Ids, samples: Samples) -> Shards:
    """To train on: rows of the pool, or of a copy where these clients see other features than the pool has."""
    altered = _altered(context, ids, samples)
    if altered is None:
        return Shards(context.x, context.targets, samples.rows, samples.starts, context.row_weights)
    weights = None if context.row_weights is None else context.row_weights[samples.rows]
    return Shards(altered, context.targets[samples.rows], np.arange(len(samples.rows)), samples.starts, weights)


def dataset(context: Context, ids: Ids, samples: Samples) -> Dataset:
    """(Σn, d) and targets, a copy."""
    return Dataset(features(context, ids, samples), context.population.pool.y[samples.rows])


def features(context: Context, ids: Ids, samples: Samples) -> Array:
    """(Σn, d) as the model sees them, a copy."""
    altered = _altered(context, ids, samples)
    x: Array = context.x[samples.rows] if altered is None else altered
    return x


def _altered(context: Context, ids: Ids, samples: Samples) -> Array | None:
    raw = context.population.features(ids, samples)
    if raw is None or context.standardiser is None:
        return raw
    return context.standardiser.apply(raw)
