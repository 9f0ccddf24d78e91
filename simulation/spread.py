"""How well one model suits each client: its figures on every client's own hold-out."""

import numpy as np

from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.learning.metrics import Metrics
from fedloom.learning.model import Model
from simulation.cohort.measuring import by_client
from simulation.population.base import Population

MAX_CLIENTS = 1000
"""Of a larger population so many, evenly from the first to the last."""
FIGURES = ("accuracy", "mse", "loss")
_AT_ONCE = 50
"""Clients whose samples are in memory together."""


def client_figures(job: Job, population: Population, model: Model) -> dict[str, list[float]]:
    """`loss`, and `accuracy` of classes or `mse` of numbers, with a value for each client that has a hold-out.

    Empty where nobody has one, and of a model whose last layers the clients keep for themselves.
    """
    found: dict[str, list[float]] = {}
    if job.shared_layout != job.model.layout() or not job.data.holdout.fraction:
        return found
    count = min(population.clients, MAX_CLIENTS)
    chosen = np.linspace(0, population.clients - 1, count).round().astype(np.intp)
    for ids in np.array_split(chosen, -(-count // _AT_ONCE)):
        held = population.holdout(ids)
        x = population.features(ids, held)
        x = population.pool.x[held.rows] if x is None else x
        x = x if model.standardiser is None else model.standardiser.apply(x)
        sums = by_client(job, model.weights, Dataset(x, population.pool.y[held.rows]), held)
        for own in sums[held.sizes > 0]:
            summary = Metrics(job.training.loss, job.model.outputs, own).summary()
            for name in FIGURES:
                if name in summary:
                    found.setdefault(name, []).append(summary[name])
    return found
