"""What clients draw from, by method: the limits of the exact partitions for very many clients."""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulation.population.base import Ids, Rows
from simulation.population.gamma import log_gamma
from simulation.population.hashing import Bits, at, below, keys, uniform
from simulation.population.lazy import Chosen
from simulation.population.rows import offsets


class Size(NamedTuple):
    """How many samples a client has whose share is so many times the average."""

    mean: int
    fewest: int
    most: int

    def of(self, logs: NDArray[np.float64]) -> NDArray[np.int64]:
        """(c,) of the logarithms of shares."""
        sizes = np.exp(np.minimum(logs, np.log(self.most))) * self.mean  # bounded, or it might overflow
        whole: NDArray[np.int64] = np.rint(np.clip(sizes, self.fewest, max(self.fewest, self.most))).astype(np.int64)
        return whole


class Uniformly:
    """From all `rows` alike, and equally many."""

    def __init__(self, rows: Rows, samples: int) -> None:
        self._rows = rows
        self._samples = samples

    def __call__(self, ids: Ids) -> Chosen:
        """See `Law`."""
        return Chosen(np.full(len(ids), self._samples, np.int64), self.drawn)

    def drawn(self, owner: Rows, place: Rows, bits: Bits) -> Rows:
        """See `Chosen.rows`."""
        return self._rows[below(bits, len(self._rows))]


class ByQuantity:
    """From all `rows` alike, and unequally many: what Dirichlet shares are among very many clients, Gamma(α)."""

    def __init__(self, rows: Rows, samples: int, alpha: float, fewest: int, seed: int) -> None:
        """`samples`: of a client on average."""
        self._uniformly = Uniformly(rows, samples)
        self._size = Size(samples, fewest, len(rows))
        self._alpha = alpha
        self._seed = seed

    def __call__(self, ids: Ids) -> Chosen:
        """See `Law`."""
        logs = log_gamma(np.array([self._alpha]), keys(self._seed, "size", ids))[:, 0]
        return Chosen(self._size.of(logs - np.log(self._alpha)), self._uniformly.drawn)


class ByClass:
    """From a client's own mixture of classes; see `dirichlet` for the sources.

    Not balanced: of class k in proportion to p_k·Gamma(α), p the classes' shares of all rows, which is what Dirichlet
    shares of each class are among very many clients; so sizes differ, too. Balanced: q ~ Dir(α·p), and equally many.
    """

    def __init__(
        self, rows: Rows, classes: NDArray[np.int64], alpha: float, balanced: bool, size: Size, seed: int
    ) -> None:
        """`classes`: (n,) that of each row."""
        counts = np.bincount(classes)
        present = np.flatnonzero(counts)
        self._rows = rows[np.argsort(classes, kind="stable")]
        self._counts = counts[present]
        self._begins = offsets(self._counts)
        self._prior = self._counts / len(rows)
        self._alpha = alpha
        self._balanced = balanced
        self._size = size
        self._seed = seed

    def __call__(self, ids: Ids) -> Chosen:
        """See `Law`."""
        shapes = self._alpha * self._prior if self._balanced else np.full(len(self._prior), self._alpha)
        weights = log_gamma(shapes, keys(self._seed, "mixture", ids))
        if not self._balanced:
            weights += np.log(self._prior / self._alpha)
        top = weights.max(axis=1, keepdims=True)
        edges = np.cumsum(np.exp(weights - top), axis=1)
        sums = edges[:, -1:].copy()
        edges /= sums
        logs = np.zeros(len(ids)) if self._balanced else (top + np.log(sums))[:, 0]
        return Chosen(self._size.of(logs), partial(self._drawn, edges))

    def _drawn(self, edges: NDArray[np.float64], owner: Rows, place: Rows, bits: Bits) -> Rows:
        """See `Chosen.rows`; `edges`: (c, k) where each class ends in [0, 1]."""
        inner = np.minimum(edges[:, :-1], 1.0)
        inner += np.arange(len(edges))[:, None]  # one rising sequence, so that one search finds client and class
        number = np.searchsorted(inner.ravel(), uniform(bits)[1] + owner, side="right") - owner * inner.shape[1]
        np.minimum(number, inner.shape[1], out=number)  # a sum may have been rounded up to the next client's
        rows: Rows = self._rows[self._begins[number] + below(bits, self._counts[number])]
        return rows


class Pieces:
    """From a few pieces of the rows sorted by class, where each begins at random (shards, McMahan et al. 2017,
    arXiv:1602.05629); a client's draws go to its pieces in turn.
    """

    def __init__(self, rows: Rows, classes: NDArray[np.int64], pieces: int, samples: int, seed: int) -> None:
        self._rows = rows[np.argsort(classes, kind="stable")]
        self._pieces = pieces
        self._samples = samples
        self._length = min(-(-samples // pieces), len(rows))
        self._seed = seed

    def __call__(self, ids: Ids) -> Chosen:
        """See `Law`."""
        totals = np.full(len(ids), self._samples, np.int64)
        return Chosen(totals, partial(self._drawn, keys(self._seed, "pieces", ids)))

    def _drawn(self, streams: Bits, owner: Rows, place: Rows, bits: Bits) -> Rows:
        """See `Chosen.rows`."""
        begin = below(at(streams[owner], place % self._pieces), len(self._rows) - self._length + 1)
        rows: Rows = self._rows[begin + place // self._pieces % self._length]
        return rows
