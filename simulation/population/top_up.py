"""Sees to it that nobody has too little: those who have most give, down to a common level."""

import numpy as np
from numpy.typing import NDArray

from simulation.population.rows import Owners, offsets, within


def topped_up(owners: Owners, clients: int, fewest: int, rng: np.random.Generator) -> Owners:
    """The same owners, but that rows of the largest clients, drawn at random, go to those with less than `fewest`.

    Needs len(owners) ≥ clients · fewest.

    >>> sorted(np.bincount(topped_up(np.array([0, 0, 0, 0, 0, 1]), 3, 1, np.random.default_rng(1))).tolist())
    [1, 1, 4]
    """
    sizes = np.bincount(owners, minlength=clients)
    wanted = np.maximum(fewest - sizes, 0)
    missing = int(wanted.sum())
    if not missing:
        return owners
    shuffled = rng.permutation(len(owners))
    by_client = shuffled[np.argsort(owners[shuffled], kind="stable")]
    surplus = by_client[within(offsets(sizes)) >= _level(sizes, missing)]
    given = owners.copy()
    given[rng.permutation(surplus)[:missing]] = np.repeat(np.arange(clients), wanted)
    return given


def _level(sizes: NDArray[np.int64], missing: int) -> int:
    """The highest size to which cutting everybody frees as many rows as are missing."""
    low, high = 0, int(sizes.max())
    while low < high:
        middle = (low + high + 1) // 2
        if int(np.maximum(sizes - middle, 0).sum()) >= missing:
            low = middle
        else:
            high = middle - 1
    return low
