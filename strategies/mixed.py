"""Updates of which each is a mean of given ones: what a pre-step that mixes hands on."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector
from strategies.base import Block, ClientUpdate, Matrix, Updates
from strategies.tiles import tiles

AHEAD_BYTES = 16 * 2**20
"""Of mixed updates that are made at once: a rule that takes them one by one would have all given ones read for each."""


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
        """All given updates are read once for AHEAD_BYTES of mixed ones, or for each block if that is larger."""
        samples = self.samples
        ahead = rows * max(1, AHEAD_BYTES // (4 * self._size * rows))
        buffer: Matrix = np.empty((min(ahead, len(self)), self._size), np.float32)
        for start in range(0, len(self), ahead):
            shares = self._shares[start : start + ahead]
            mixed = buffer[: len(shares)]
            for tile in tiles(self._updates, self._size):
                np.matmul(shares, tile.deltas, out=mixed[:, tile.columns])
            for first in range(0, len(mixed), rows):
                deltas = mixed[first : first + rows]
                numbers = range(start + first, start + first + len(deltas))
                updates = (
                    ClientUpdate(i.to_bytes(16, "big"), samples[i], row) for i, row in zip(numbers, deltas, strict=True)
                )
                yield Block(tuple(updates), deltas)

    def columns(self, start: int, out: Matrix) -> None:
        """One product."""
        given: Matrix = np.empty((len(self._updates), out.shape[1]), np.float32)
        self._updates.columns(start, given)
        np.matmul(self._shares, given, out=out)
