"""How alike or unlike the clients of a population are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulation.population.base import Ids, Population, generator

SHOWN = 1000
"""Clients that are looked at where there are more: drawn at random, with a seed."""


class Summary(NamedTuple):
    """Figures of the clients that were looked at."""

    clients: int
    """Of the population."""
    ids: Ids
    """(c,) which were looked at, rising."""
    training: NDArray[np.int64]
    """(c,) samples that each trains on."""
    holdout: NDArray[np.int64]
    """(c,) samples that each holds out."""
    test: int
    """Samples that nobody has."""
    counts: NDArray[np.int64] | None
    """(c, k) training samples of each class; None where the job predicts numbers."""

    @property
    def present(self) -> NDArray[np.int64]:
        """(c,) classes of which a client has at least one sample."""
        present: NDArray[np.int64] = (self.shares > 0.0).sum(axis=1)
        return present

    @property
    def shares(self) -> NDArray[np.float64]:
        """(c, k) each client's mixture of classes."""
        if self.counts is None:
            raise ValueError("numbers have no classes")
        mixtures: NDArray[np.float64] = self.counts / self.training[:, None]
        return mixtures

    @property
    def skew(self) -> float:
        """Mean over the clients of the total variation distance between their mixture and that of all: 0 is all alike;
        with one class a client it is 1 less the sum of the classes' squared shares.
        """
        whole = self.training @ self.shares / self.training.sum()
        return float(0.5 * np.abs(self.shares - whole).sum(axis=1).mean())


def summarise(population: Population, classes: int, seed: int) -> Summary:
    """Look at everybody or, of more than SHOWN clients, at so many; `classes` is 0 where numbers are predicted."""
    ids = np.arange(min(population.clients, SHOWN))
    if population.clients > SHOWN:
        ids = np.sort(generator(seed, "summary").choice(population.clients, SHOWN, replace=False, shuffle=False))
    samples = population.training(ids)
    counts = None
    if classes:
        owner = np.repeat(np.arange(len(ids)), samples.sizes)
        flat = owner * classes + population.pool.y[samples.rows].astype(np.int64)
        counts = np.bincount(flat, minlength=len(ids) * classes).reshape(len(ids), classes)
    test = population.test.samples if population.test else 0
    return Summary(population.clients, ids, samples.sizes, population.holdout(ids).sizes, test, counts)
