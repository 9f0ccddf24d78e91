"""What a simulation asks of its clients' data.

Clients have the numbers 0 … N − 1. Nothing here depends on what was asked before: the same seed and ids give the same
samples, so that any number of workers, each with a population of its own, agree.
"""

from typing import NamedTuple, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array

Ids = NDArray[np.intp]
"""(c,) client numbers, in any order."""
Rows = NDArray[np.intp]
"""Places in a pool."""
MOST_ASKED = 200_000
"""Clients where all are asked, about their moments or a final model; of more, so many are drawn."""


class Samples(NamedTuple):
    """The rows of c clients one after the other (compressed sparse rows)."""

    rows: Rows
    """(Σn,) places in the pool; a client's may repeat where they were drawn with replacement."""
    starts: Rows
    """(c + 1,): the rows of the i-th client that was asked for are rows[starts[i]:starts[i + 1]]."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(c,) rows of each client."""
        return self.starts[1:] - self.starts[:-1]


class Population(Protocol):
    """All clients of a simulated fleet."""

    pool: Dataset
    """Every sample that a client may have; `x` may be a read-only memory map."""
    test: Dataset | None
    """What no client has; None where nothing was kept back."""
    clients: int
    """N."""

    def sizes(self, ids: Ids) -> NDArray[np.int64]:
        """(c,) training samples of each client, hold-out left out."""

    def training(self, ids: Ids) -> Samples:
        """What each client trains on; at least one row."""

    def holdout(self, ids: Ids) -> Samples:
        """What each client keeps for evaluation; no rows where there is no hold-out."""

    def features(self, ids: Ids, samples: Samples) -> Array | None:
        """(Σn, d) float32 features of these samples as their clients see them; None: as they are, pool.x[rows]."""


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A stream of its own for each purpose of a job's seed."""
    return np.random.default_rng([seed, crc32(purpose.encode())])


def device_id(client: int) -> bytes:
    """What a client is called where devices are: as `simulation.processes` numbers them, from 1."""
    return (client + 1).to_bytes(16, "big")


def client_of(device: bytes) -> int:
    """The other way."""
    return int.from_bytes(device, "big") - 1
