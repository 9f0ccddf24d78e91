"""A population of which every sample was dealt out once: exact, and as large as the data at most."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from simulation.population.base import Ids, Samples
from simulation.population.rows import gather


class View(Protocol):
    """How clients see their samples, where they do not see them as they are in the pool."""

    def __call__(self, pool: Dataset, ids: Ids, samples: Samples) -> Array:
        """(Σn, d) float32 features."""


class Dealt:
    """Holds who has which rows."""

    def __init__(
        self, pool: Dataset, test: Dataset | None, train: Samples, held: Samples, view: View | None = None
    ) -> None:
        self.pool = pool
        self.test = test
        self.clients = len(train.starts) - 1
        self._train = train
        self._held = held
        self._view = view

    def sizes(self, ids: Ids) -> NDArray[np.int64]:
        """See `Population`."""
        starts = self._train.starts
        return (starts[ids + 1] - starts[ids]).astype(np.int64, copy=False)

    def training(self, ids: Ids) -> Samples:
        """See `Population`."""
        return gather(self._train, ids)

    def holdout(self, ids: Ids) -> Samples:
        """See `Population`."""
        return gather(self._held, ids)

    def features(self, ids: Ids, samples: Samples) -> Array | None:
        """See `Population`."""
        return self._view(self.pool, ids, samples) if self._view else None
