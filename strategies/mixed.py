"""Updates of which each is a mean of given ones: what a pre-step that mixes hands on."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector
from strategies.base import Block, ClientUpdate, Matrix, Updates
from strategies.tiles import tiles


class Mixed:
    """`Updates` of which number i is Σ_j shares[i, j] · Δ_j, lazy as those that they are made from.

    They are nobody's in particular: they have a number for an id, and the same mean of the samples.
    """

    def __init__(self, updates: Updates, shares: NDArray[np.float32], size: int) -> None:
        """`shares` (m, n): each row sums to 1."""
        self._updates = updates
        self._shares = shares
        self._size = size

    def __iter__(self) -> Iterator[ClientUpdate]:
        for block in self.blocks(1):
            yield from block.updates

    def __len__(self) -> int:
        return len(self._shares)

    @property
    def samples(self) -> Sequence[int]:
        """The mean of those mixed, rounded; 1 at least where anybody has one."""
        return [max(round(mean), mean > 0.0) for mean in (self._shares @ np.array(self._updates.samples)).tolist()]

    @property
    def received(self) -> int:
        """As it was."""
        return self._updates.received

    @property
    def trusted(self) -> Vector | None:
        """As it was."""
        return self._updates.trusted

    def blocks(self, rows: int) -> Iterator[Block]:
        """All given updates are read for each block: ask for many rows at once, or for columns."""
        samples = self.samples
        for first in range(0, len(self), rows):
            shares = self._shares[first : first + rows]
            deltas: Matrix = np.empty((len(shares), self._size), np.float32)
            for tile in tiles(self._updates, self._size):
                np.matmul(shares, tile.deltas, out=deltas[:, tile.columns])
            numbers = range(first, first + len(shares))
            updates = (
                ClientUpdate(i.to_bytes(16, "big"), samples[i], row) for i, row in zip(numbers, deltas, strict=True)
            )
            yield Block(tuple(updates), deltas)

    def columns(self, start: int, out: Matrix) -> None:
        """One product."""
        given: Matrix = np.empty((len(self._updates), out.shape[1]), np.float32)
        self._updates.columns(start, given)
        np.matmul(self._shares, given, out=out)
