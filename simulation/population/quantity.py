"""Quantity skew: clients have the same mixture of classes, and differ in how many samples they have.

Shares of the data q ~ Dir(α, …, α) over the clients. Source: Li et al. 2022 (NIID-Bench), arXiv:2102.02079.
"""

import numpy as np

from simulation.population.rows import Owners


def deal(rows: int, clients: int, alpha: float, rng: np.random.Generator) -> Owners:
    """(n,) who owns each of `rows`; clients may come out with none."""
    cuts = np.rint(np.cumsum(rng.dirichlet(np.full(clients, alpha))) * rows).astype(np.int64)
    cuts[-1] = rows
    owners = np.empty(rows, np.intp)
    owners[rng.permutation(rows)] = np.repeat(np.arange(clients), np.diff(cuts, prepend=0))
    return owners
