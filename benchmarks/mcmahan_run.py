"""One cell of McMahan's tables with one learning rate and seed: rounds of FedAvg until the test accuracy is reached.

As the paper does it: the curve of accuracies is made monotone (the best so far), and where it crosses the target is
interpolated between two rounds. McMahan et al. 2017, section 3, arXiv:1602.05629.
"""

import functools
import time
from pathlib import Path
from typing import NamedTuple

import mnist
import numpy as np
from mnist import CLASSES, PIXELS, Mnist

from fedloom.learning.evaluate import evaluate
from fedloom.learning.initialise import initial_weights
from fedloom.learning.layout import Vector
from fedloom.learning.losses import encode_targets
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from simulation.cohort.shards import Shards
from simulation.cohort.trainer import CohortTrainer
from simulation.population import iid, shards
from simulation.population.base import Ids, Samples
from simulation.population.rows import by_owner, gather

SPEC = ModelSpec(PIXELS, CLASSES, hidden=(200, 200))
CLIENTS = 100
SHARDS_A_CLIENT = 2
TARGET = 0.97
SMALLER = 0.41
"""A scale that makes He uniform U(±1/√n)."""
CHUNK = 10
"""Clients that are trained at once: their new weights are 0.8 MB each."""


class Cell(NamedTuple):
    """A figure of the paper."""

    is_iid: bool
    epochs: int
    batch: int
    share: float
    """C, of the clients in a round; 0 is one client."""
    paper: int
    """Rounds that it needs there."""
    scale: float = 1.0
    """Of the first weights."""

    @property
    def cohort(self) -> int:
        """Clients a round."""
        return max(1, round(self.share * CLIENTS))

    @property
    def epochs_a_round(self) -> int:
        """What a round costs."""
        return self.cohort * self.epochs


class Run(NamedTuple):
    """What a result depends on."""

    cell: Cell
    learning_rate: float
    seed: int
    limit: int
    """Rounds after which it is given up."""


class Result(NamedTuple):
    """What came of it."""

    rounds: float | None
    """None: the target was not reached."""
    curve: list[float]
    """Accuracy on the test data after each round."""
    seconds: float


def run(given: Run, folder: Path) -> Result:
    """Until the target is reached, or the limit."""
    began_s = time.perf_counter()
    cell, data = given.cell, _data(folder)
    plan = TrainPlan("cross_entropy", given.learning_rate, batch_size=cell.batch, local_epochs=cell.epochs)
    trainer = CohortTrainer(SPEC, plan)
    population = _population(cell, data, given.seed)
    weights = initial_weights(SPEC, np.random.default_rng(given.seed)) * np.float32(cell.scale)
    targets = _targets(folder)
    curve: list[float] = []
    for number in range(1, given.limit + 1):
        rng = np.random.default_rng([given.seed, number])
        ids = np.sort(rng.permutation(CLIENTS)[: cell.cohort])
        weights = weights + _mean_delta(trainer, weights, population, ids, data, targets, rng)
        curve.append(float(evaluate(SPEC, plan.loss, weights, data.test).summary()["accuracy"]))
        if curve[-1] >= TARGET:
            break
    return Result(crossing(curve, TARGET), curve, time.perf_counter() - began_s)


def crossing(curve: list[float], target: float) -> float | None:
    """The round, with a fraction, in which the monotone curve reaches the target; None if it never does.

    >>> crossing([0.5, 0.4, 0.75], 0.625)
    2.5
    >>> crossing([0.5], 0.75) is None
    True
    """
    best = np.maximum.accumulate(curve)
    reached = int(np.searchsorted(best, target))
    if reached == len(best):
        return None
    if reached == 0:
        return 1.0
    before, after = best[reached - 1 : reached + 1]
    return reached + float((target - before) / (after - before))


def _mean_delta(
    trainer: CohortTrainer,
    weights: Vector,
    population: Samples,
    ids: Ids,
    data: Mnist,
    targets: Vector,
    rng: np.random.Generator,
) -> Vector:
    """FedAvg: the mean of the clients' changes, by samples."""
    total, samples = np.zeros(weights.size), 0
    for start in range(0, len(ids), CHUNK):
        rows, starts = gather(population, ids[start : start + CHUNK])
        fit = trainer.fit(weights, Shards(data.train.x, targets, rows, starts), rng)
        total += fit.samples.astype(np.float32) @ fit.deltas
        samples += int(fit.samples.sum())
    mean: Vector = (total / samples).astype(np.float32)
    return mean


def _population(cell: Cell, data: Mnist, seed: int) -> Samples:
    rng = np.random.default_rng([seed, 0])
    if cell.is_iid:
        return by_owner(iid.deal(data.train.samples, CLIENTS, rng), CLIENTS)
    return by_owner(shards.deal(data.train.y, CLIENTS, SHARDS_A_CLIENT, rng), CLIENTS)


@functools.cache
def _data(folder: Path) -> Mnist:
    return mnist.load(folder)


@functools.cache
def _targets(folder: Path) -> Vector:
    return encode_targets(_data(folder).train.y, "cross_entropy", CLASSES)
