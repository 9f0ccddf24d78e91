"""The context that workers need: the statistics round, then the pool as the model sees it."""

from collections.abc import Iterator

import numpy as np

from fedloom.errors import InputError
from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.learning.losses import encode_targets
from fedloom.learning.standardise import BLOCK_ROWS, Moments, Standardiser
from simulation.cohort.task import Context
from simulation.population.base import MOST_ASKED, Ids, Population

_AT_ONCE = 4096
"""Clients."""


def standardiser_of(population: Population) -> Standardiser:
    """By the moments that clients would tell: of what they train on, as often as they do.

    Raises:
        InputError: there is none that is finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # the result is checked below
        standardiser = _moments(population).standardiser()
    if not (np.isfinite(standardiser.shift).all() and np.isfinite(standardiser.scale).all()):
        problem = "their mean or deviation is not finite in float32"
        raise InputError("the data set", "data.features", problem, "scale them, and leave out what is not a number")
    return standardiser


def _moments(population: Population) -> Moments:
    if population.features(np.arange(1), population.training(np.arange(1))) is not None:
        return _by_client(population)
    pool, counts = population.pool.x, np.zeros(len(population.pool.x), np.int64)
    for ids in _telling(population):
        counts += np.bincount(population.training(ids).rows, minlength=len(counts))
    total, squares = np.zeros(pool.shape[1]), np.zeros(pool.shape[1])
    for start in range(0, len(pool), BLOCK_ROWS):
        block = pool[start : start + BLOCK_ROWS].astype(np.float64)
        times = counts[start : start + BLOCK_ROWS].astype(np.float64)
        total += times @ block
        squares += times @ np.square(block, out=block)
    return Moments(int(counts.sum()), total, squares)


def context_of(job: Job, population: Population, standardiser: Standardiser | None) -> Context:
    """For all rounds.

    Raises:
        InputError: the data set does not fit the model.
    """
    pool, test = population.pool, population.test
    if pool.x.shape[1] != job.model.inputs:
        problem = f"{job.model.inputs} inputs, but a sample has {pool.x.shape[1]} features"
        raise InputError(f"job {job.name}", "model.inputs", problem, f"set it to {pool.x.shape[1]}")
    x = pool.x
    if standardiser:
        x = standardiser.apply(x)
        test = Dataset(standardiser.apply(test.x), test.y) if test else None
    classes = job.training.class_weights
    row_weights = np.array(classes, np.float32)[pool.y] if classes else None
    targets = encode_targets(pool.y, job.training.loss, job.model.outputs)
    return Context(job, population, x, targets, row_weights, test, standardiser)


def _by_client(population: Population) -> Moments:
    """Where each sees the pool in its own way."""
    width = population.pool.x.shape[1]
    total = Moments(0, np.zeros(width), np.zeros(width))
    for ids in _telling(population):
        altered = population.features(ids, population.training(ids))
        assert altered is not None  # noqa: S101 - for the type checker: it was not for the first client
        total += Moments.of(altered)
    return total


def _telling(population: Population) -> Iterator[Ids]:
    """In groups."""
    everybody = np.arange(population.clients)
    if population.clients > MOST_ASKED:
        everybody = np.sort(np.random.default_rng(0).choice(population.clients, MOST_ASKED, replace=False))
    for first in range(0, len(everybody), _AT_ONCE):
        yield everybody[first : first + _AT_ONCE]
