"""Updates that are in memory: for simulations and tests, and what a pre-step may hand on.

Where the deltas are the rows of one matrix, in the order of the clients, and its `flags.writeable` is False, blocks are
views of it: a mean is then as fast as memory can be read.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector
from strategies.base import Block, ClientUpdate, Matrix


class UpdatesInMemory:
    """`Updates` of a simulation or a test; sorted here, so that their order does not matter."""

    def __init__(self, updates: Iterable[ClientUpdate], trusted: Vector | None = None) -> None:
        self._updates = sorted(updates, key=lambda update: (update.client, -update.staleness))
        self.trusted = trusted

    def __iter__(self) -> Iterator[ClientUpdate]:
        return iter(self._updates)

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def samples(self) -> Sequence[int]:
        """Of each update, in order."""
        return [update.samples for update in self._updates]

    @property
    def received(self) -> int:
        """All that are here."""
        return len(self)

    def blocks(self, rows: int) -> Iterator[Block]:
        """Blocks of `rows`: copies, or views of the matrix that all deltas are rows of, if nobody may change it."""
        if (whole := self._matrix()) is not None:
            for start in range(0, len(self), rows):
                yield Block(tuple(self._updates[start : start + rows]), whole[start : start + rows])
            return
        matrix = np.empty((min(rows, len(self)), self._updates[0].delta.size if self._updates else 0), np.float32)
        for start in range(0, len(self), rows):
            part = self._updates[start : start + rows]
            for row, update in zip(matrix, part, strict=False):
                row[:] = update.delta
            deltas = matrix[: len(part)]
            yield Block(tuple(each._replace(delta=row) for each, row in zip(part, deltas, strict=True)), deltas)

    def columns(self, start: int, out: Matrix) -> None:
        """Copies of some columns."""
        stop = start + out.shape[1]
        for row, update in zip(out, self._updates, strict=True):
            row[:] = update.delta[start:stop]

    def _matrix(self) -> Matrix | None:
        """A read-only matrix whose rows are the deltas, all of them and in this order."""
        base = self._updates[0].delta.base if self._updates else None
        if not isinstance(base, np.ndarray) or base.flags.writeable or base.shape[:1] != (len(self),):
            return None
        is_whole = all(_is_same(row, each.delta) for row, each in zip(base, self._updates, strict=True))
        return base if is_whole else None


def _is_same(one: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    """Whether both are views of the same memory."""
    return one.__array_interface__ == other.__array_interface__
