"""Clients that draw their samples with replacement, each from a stream of its own: as many clients as one likes, at no
cost until they are asked for.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.job.data import Holdout
from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from simulation.population.base import Ids, Rows, Samples
from simulation.population.dealt import View
from simulation.population.hashing import Bits, at, keys
from simulation.population.holdout import held_out
from simulation.population.rows import offsets, within


class Chosen(NamedTuple):
    """What c clients draw."""

    totals: NDArray[np.int64]
    """(c,) samples of each, hold-out included."""
    rows: Callable[[Rows, Rows, Bits], Rows]
    """(Σn,) rows of the pool: for each draw whose it is (0 … c − 1), its number, and 64 random bits."""


class Law(Protocol):
    """The distribution that clients draw from."""

    def __call__(self, ids: Ids) -> Chosen:
        """For these clients."""


class Drawn:
    """A population of clients that draw."""

    def __init__(
        self, pool: Dataset, test: Dataset | None, clients: int, law: Law, holdout: Holdout, seed: int,
        view: View | None = None,
    ) -> None:  # fmt: skip
        self.pool = pool
        self.test = test
        self.clients = clients
        self._law = law
        self._holdout = holdout
        self._seed = seed
        self._view = view

    def sizes(self, ids: Ids) -> NDArray[np.int64]:
        """See `Population`."""
        totals = self._law(ids).totals
        return totals - held_out(totals, self._holdout)

    def training(self, ids: Ids) -> Samples:
        """See `Population`."""
        chosen = self._law(ids)
        counts = chosen.totals - held_out(chosen.totals, self._holdout)
        return self._rows(ids, chosen, np.zeros_like(counts), counts)

    def holdout(self, ids: Ids) -> Samples:
        """See `Population`: a client's last draws."""
        chosen = self._law(ids)
        counts = held_out(chosen.totals, self._holdout)
        return self._rows(ids, chosen, chosen.totals - counts, counts)

    def features(self, ids: Ids, samples: Samples) -> Array | None:
        """See `Population`."""
        return self._view(self.pool, ids, samples) if self._view else None

    def _rows(self, ids: Ids, chosen: Chosen, first: NDArray[np.int64], counts: NDArray[np.int64]) -> Samples:
        """The draws number `first` … `first` + `counts` − 1 of each client."""
        starts = offsets(counts)
        owner = np.repeat(np.arange(len(ids)), counts)
        place = within(starts) + first[owner]
        bits = at(keys(self._seed, "samples", ids)[owner], place)
        return Samples(chosen.rows(owner, place, bits), starts)
