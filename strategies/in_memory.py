"""Updates that are in memory: for simulations and tests, and what a pre-step may hand on."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from strategies.base import Block, ClientUpdate, Matrix


class UpdatesInMemory:
    """`Updates` of a simulation or a test; sorted here, so that their order does not matter."""

    def __init__(self, updates: Iterable[ClientUpdate]) -> None:
        self._updates = sorted(updates, key=lambda update: (update.client, -update.staleness))

    def __iter__(self) -> Iterator[ClientUpdate]:
        return iter(self._updates)

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def samples(self) -> Sequence[int]:
        """Of each update, in order."""
        return [update.samples for update in self._updates]

    def blocks(self, rows: int) -> Iterator[Block]:
        """Copies of the deltas, in blocks of `rows`."""
        if not self._updates:
            return
        matrix = np.empty((min(rows, len(self)), self._updates[0].delta.size), np.float32)
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
