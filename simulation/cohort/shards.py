"""What some clients train on: rows of one pool of samples."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Array

Positions = NDArray[np.intp]


class Shards(NamedTuple):
    """The training samples of c clients, without a copy: client i has `rows[starts[i]:starts[i + 1]]` of the pool."""

    x: Array
    """(n, d) the pool's features, C-contiguous."""
    targets: Array
    """(n, k) the pool's targets as `fedloom.learning.losses.encode_targets` makes them."""
    rows: Positions
    """(Σ samples,) rows of the pool."""
    starts: Positions
    """(c + 1,) rising."""
    row_weights: Array | None = None
    """(n,) each row's class weight, where the plan has any."""

    @property
    def samples(self) -> Positions:
        """(c,) of each client."""
        return np.diff(self.starts)
