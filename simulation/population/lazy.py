"""Clients that draw their samples with replacement, each from a stream of its own: as many clients as one likes, at no
cost until they are asked for.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.job.data import Holdout
from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from simulation.population.base import Ids, Rows, Samples
from simulation.population.dealt import View
from simulation.population.gamma import log_gamma
from simulation.population.hashing import Bits, at, below, keys, uniform
from simulation.population.holdout import held_out
from simulation.population.rows import offsets, within


class Draws(Protocol):
    """What distribution a client's samples come from."""

    def __call__(self, ids: Ids, owner: Rows, place: Rows, bits: Bits) -> Rows:
        """(Σn,) rows of the pool: for each draw whose it is (a place in `ids`), its number, and 64 random bits."""


class Sizes(Protocol):
    """How many samples a client has."""

    def __call__(self, ids: Ids) -> NDArray[np.int64]:
        """(c,) hold-out included."""


class Drawn:
    """A population of clients that draw."""

    def __init__(
        self, pool: Dataset, test: Dataset | None, clients: int, sizes: Sizes, draws: Draws, holdout: Holdout,
        seed: int, view: View | None = None,
    ) -> None:  # fmt: skip
        self.pool = pool
        self.test = test
        self.clients = clients
        self._total = sizes
        self._draws = draws
        self._holdout = holdout
        self._seed = seed
        self._view = view

    def sizes(self, ids: Ids) -> NDArray[np.int64]:
        """See `Population`."""
        total = self._total(ids)
        return total - held_out(total, self._holdout)

    def training(self, ids: Ids) -> Samples:
        """See `Population`."""
        sizes = self.sizes(ids)
        return self._rows(ids, np.zeros_like(sizes), sizes)

    def holdout(self, ids: Ids) -> Samples:
        """See `Population`: a client's last draws."""
        kept = held_out(self._total(ids), self._holdout)
        return self._rows(ids, self.sizes(ids), kept)

    def features(self, ids: Ids, samples: Samples) -> Array | None:
        """See `Population`."""
        return self._view(self.pool, ids, samples) if self._view else None

    def _rows(self, ids: Ids, first: NDArray[np.int64], counts: NDArray[np.int64]) -> Samples:
        """The draws number `first` … `first` + `counts` − 1 of each client."""
        starts = offsets(counts)
        owner = np.repeat(np.arange(len(ids)), counts)
        place = within(starts) + first[owner]
        bits = at(keys(self._seed, "samples", ids)[owner], place)
        return Samples(self._draws(ids, owner, place, bits), starts)


class Equal:
    """Everybody has the same number of samples."""

    def __init__(self, samples: int) -> None:
        self._samples = samples

    def __call__(self, ids: Ids) -> NDArray[np.int64]:
        """See `Sizes`."""
        return np.full(len(ids), self._samples, np.int64)


class Skewed:
    """Sizes as of Dirichlet shares over very many clients: Gamma(α), `mean` on average, `fewest` at least."""

    def __init__(self, mean: int, alpha: float, fewest: int, most: int, seed: int) -> None:
        self._mean = mean
        self._alpha = alpha
        self._range = (min(fewest, most), most)
        self._seed = seed

    def __call__(self, ids: Ids) -> NDArray[np.int64]:
        """See `Sizes`."""
        shares = np.exp(log_gamma(np.array([self._alpha]), keys(self._seed, "size", ids))[:, 0]) / self._alpha
        return np.rint(np.clip(shares * self._mean, *self._range)).astype(np.int64)


class Uniformly:
    """From all `rows` alike."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __call__(self, ids: Ids, owner: Rows, place: Rows, bits: Bits) -> Rows:
        """See `Draws`."""
        return self._rows[below(bits, len(self._rows))]


class ByMixture:
    """From a client's own mixture of classes q ~ Dir(α·p), p the classes' shares of all rows (Hsu et al. 2019,
    arXiv:1909.06335).
    """

    def __init__(self, rows: Rows, classes: NDArray[np.int64], alpha: float, seed: int) -> None:
        """`classes`: (n,) that of each row."""
        counts = np.bincount(classes)
        present = np.flatnonzero(counts)
        self._rows = rows[np.argsort(classes, kind="stable")]
        self._counts = counts[present]
        self._begins = offsets(self._counts)
        self._shapes = alpha * self._counts / len(rows)
        self._seed = seed

    def mixtures(self, ids: Ids) -> NDArray[np.float64]:
        """(c, k) each client's shares of the classes that there are."""
        logs = log_gamma(self._shapes, keys(self._seed, "mixture", ids))
        shares: NDArray[np.float64] = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return shares

    def __call__(self, ids: Ids, owner: Rows, place: Rows, bits: Bits) -> Rows:
        """See `Draws`."""
        edges = np.minimum(np.cumsum(self.mixtures(ids), axis=1)[:, :-1], 1.0)
        edges += np.arange(len(ids))[:, None]  # one rising sequence, so that one search finds client and class
        number = np.searchsorted(edges.ravel(), uniform(bits)[1] + owner, side="right") - owner * edges.shape[1]
        np.minimum(number, edges.shape[1], out=number)  # a sum may have been rounded up to the next client's
        rows: Rows = self._rows[self._begins[number] + below(bits, self._counts[number])]
        return rows


class Pieces:
    """From a few pieces of the rows sorted by class, where each begins at random (shards, McMahan et al. 2017,
    arXiv:1602.05629); a client's draws go to its pieces in turn.
    """

    def __init__(self, rows: Rows, classes: NDArray[np.int64], pieces: int, samples: int, seed: int) -> None:
        self._rows = rows[np.argsort(classes, kind="stable")]
        self._pieces = pieces
        self._length = min(-(-samples // pieces), len(rows))
        self._seed = seed

    def __call__(self, ids: Ids, owner: Rows, place: Rows, bits: Bits) -> Rows:
        """See `Draws`."""
        piece = at(keys(self._seed, "pieces", ids)[owner], place % self._pieces)
        begin = below(piece, len(self._rows) - self._length + 1)
        rows: Rows = self._rows[begin + place // self._pieces % self._length]
        return rows
