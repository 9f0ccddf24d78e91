"""Rows by client: gathered, and made of who owns each."""

import numpy as np
from numpy.typing import NDArray

from simulation.population.base import Ids, Rows, Samples

Owners = NDArray[np.intp]
"""(n,) the client that has each row; −1 is nobody."""


def offsets(sizes: NDArray[np.int64]) -> Rows:
    """(c + 1,) where each of pieces of these sizes begins, and where the last ends.

    >>> offsets(np.array([2, 0, 3])).tolist()
    [0, 2, 2, 5]
    """
    starts = np.zeros(len(sizes) + 1, np.intp)
    np.cumsum(sizes, out=starts[1:])
    return starts


def within(starts: Rows) -> Rows:
    """(Σn,) for each row its place among those of its client.

    >>> within(np.array([0, 2, 2, 5])).tolist()
    [0, 1, 0, 1, 2]
    """
    return np.arange(starts[-1]) - np.repeat(starts[:-1], np.diff(starts))


def gather(everything: Samples, ids: Ids) -> Samples:
    """The rows of some clients, in the order of `ids`.

    >>> whole = Samples(np.array([4, 7, 1, 2, 3]), np.array([0, 2, 5]))
    >>> gather(whole, np.array([1, 0, 1])).rows.tolist()
    [1, 2, 3, 4, 7, 1, 2, 3]
    """
    if len(ids) and (ids == np.arange(ids[0], ids[0] + len(ids))).all():  # they follow each other: a view
        starts = everything.starts[ids[0] : ids[-1] + 2]
        return Samples(everything.rows[starts[0] : starts[-1]], starts - starts[0])
    begins = everything.starts[ids]
    sizes = everything.starts[ids + 1] - begins
    starts = offsets(sizes)
    places = np.repeat(begins - starts[:-1], sizes)
    places += np.arange(starts[-1])
    return Samples(everything.rows[places], starts)


def by_owner(owners: Owners, clients: int) -> Samples:
    """Everybody's rows, each client's in rising order.

    >>> by_owner(np.array([1, 0, -1, 1]), 3)
    Samples(rows=array([1, 0, 3]), starts=array([0, 1, 3, 3]))
    """
    order = np.argsort(owners, kind="stable")
    order = order[np.count_nonzero(owners < 0) :]
    return Samples(order, offsets(np.bincount(owners[order], minlength=clients)))
