"""Shards: the data, sorted by class, is cut into equal pieces, and each client gets a few of them.

With 2 shards a client most clients have two classes only. Source: McMahan et al. 2017, section 3 (the "pathological
non-IID partition"), arXiv:1602.05629.
"""

import numpy as np
from numpy.typing import NDArray

from simulation.population.iid import even_sizes
from simulation.population.rows import Owners


def deal(classes: NDArray[np.int64], clients: int, pieces: int, rng: np.random.Generator) -> Owners:
    """(n,) who owns each row, of (n,) class numbers; needs n ≥ clients · pieces."""
    count = clients * pieces
    owner_of_shard = rng.permutation(count) // pieces
    owners = np.empty(len(classes), np.intp)
    owners[np.argsort(classes, kind="stable")] = np.repeat(owner_of_shard, even_sizes(len(classes), count))
    return owners
