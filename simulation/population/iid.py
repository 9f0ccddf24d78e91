"""Everybody has rows drawn at random, equally many but for one."""

import numpy as np

from simulation.population.rows import Owners


def even_sizes(total: int, clients: int) -> Owners:
    """(N,) shares of `total` that differ by one at most.

    >>> even_sizes(7, 3).tolist()
    [3, 2, 2]
    """
    return total // clients + (np.arange(clients) < total % clients).astype(np.intp)


def deal(rows: int, clients: int, rng: np.random.Generator) -> Owners:
    """(n,) who owns each of `rows`."""
    owners = np.empty(rows, np.intp)
    owners[rng.permutation(rows)] = np.repeat(np.arange(clients), even_sizes(rows, clients))
    return owners
