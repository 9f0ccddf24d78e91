"""What some clients train on: rows of one pool of samples."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Array

Positions = NDArray[np.intp]
Made = TypeVar("Made")


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
        return self.starts[1:] - self.starts[:-1]


class Converted(Generic[Made]):
    """The pool in another form, kept for all groups and rounds that are trained from it."""

    def __init__(self, make: Callable[[Shards], Made]) -> None:
        self._make = make
        self._shards: Shards | None = None
        self._made: Made | None = None

    def of(self, shards: Shards) -> Made:
        """Made anew where the pool is not that of last time."""
        kept = self._shards
        if self._made is None or kept is None or kept.x is not shards.x or kept.targets is not shards.targets:
            self._made = None  # let go of the old one first
            self._shards, self._made = shards, self._make(shards)
        return self._made
