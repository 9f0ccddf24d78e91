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
    """Pools in another form: the largest, and the last, kept for all groups and rounds that are trained from them.

    Where some chunks of clients train on copies, as those with attackers do that flip labels, the pool of all others
    is not made anew after each.
    """

    def __init__(self, make: Callable[[Shards], Made]) -> None:
        self._make = make
        self._kept: list[tuple[Shards, Made]] = []

    def of(self, shards: Shards) -> Made:
        """Made anew where the pool is none of these."""
        for kept, made in self._kept:
            if kept.x is shards.x and kept.targets is shards.targets:
                return made
        self._kept = sorted(self._kept, key=lambda each: len(each[0].x))[-1:]  # let go of the other first
        made = self._make(shards)
        self._kept.append((shards, made))
        return made
