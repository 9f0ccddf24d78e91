"""Updates of which each is multiplied by a factor: what a pre-step that clips hands on."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector
from strategies.base import Block, ClientUpdate, Matrix, Updates


class Scaled:
    """`Updates`, lazy as those that they are made from."""

    def __init__(self, updates: Updates, factors: NDArray[np.float32]) -> None:
        """`factors` (n,) in order."""
        self._updates = updates
        self._factors = factors

    def __iter__(self) -> Iterator[ClientUpdate]:
        for block in self.blocks(1):
            yield from block.updates

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def samples(self) -> Sequence[int]:
        """As they were."""
        return self._updates.samples

    @property
    def received(self) -> int:
        """As it was."""
        return self._updates.received

    @property
    def trusted(self) -> Vector | None:
        """As it was."""
        return self._updates.trusted

    def blocks(self, rows: int) -> Iterator[Block]:
        """Multiplied into a matrix of their own: the given one may be nobody's to change."""
        done = 0
        for block in self._updates.blocks(rows):
            deltas = block.deltas * self._factors[done : done + len(block.deltas), None]
            done += len(deltas)
            updates = (each._replace(delta=row) for each, row in zip(block.updates, deltas, strict=True))
            yield Block(tuple(updates), deltas)

    def columns(self, start: int, out: Matrix) -> None:
        """Multiplied where they were decoded."""
        self._updates.columns(start, out)
        out *= self._factors[:, None]
