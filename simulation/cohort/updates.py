"""The updates of a simulated round: arrays by client, of which a `ClientUpdate` is made when a rule asks for one."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector
from simulation.population.base import Ids, device_id
from strategies import Block, ClientUpdate
from strategies.base import Matrix


class Figures(NamedTuple):
    """What updates say beside their vectors, (n,) each."""

    ids: Ids
    """Rising, or in an asynchronous job in the order of `strategies.in_memory.UpdatesInMemory`."""
    samples: NDArray[np.int64]
    steps: NDArray[np.int64]
    losses: NDArray[np.float64]
    staleness: NDArray[np.int64] | None = None
    """None: all are fresh."""

    def of(self, rows: NDArray[np.intp]) -> "Figures":
        """Some of them."""
        staleness = None if self.staleness is None else self.staleness[rows]
        return Figures(self.ids[rows], self.samples[rows], self.steps[rows], self.losses[rows], staleness)


class RoundUpdates:
    """`Updates` over matrices; nothing is copied."""

    def __init__(
        self, figures: Figures, deltas: Matrix, controls: Matrix | None = None, trusted: Vector | None = None
    ) -> None:
        """`deltas` and `controls` (n, p) are in the figures' order, and are made read-only."""
        self._figures, self._controls = figures, controls
        self._deltas = deltas.view()
        self._deltas.flags.writeable = False
        self._samples: Sequence[int] = figures.samples.data  # a list of it would take longer than the sum
        self.trusted = trusted

    def __iter__(self) -> Iterator[ClientUpdate]:
        return iter(_Part(self, 0, len(self)))

    def __len__(self) -> int:
        return len(self._deltas)

    @property
    def samples(self) -> Sequence[int]:
        """Of each update, in order."""
        return self._samples

    @property
    def received(self) -> int:
        """All that are here."""
        return len(self)

    def blocks(self, rows: int) -> Iterator[Block]:
        """Views."""
        for start in range(0, len(self), rows):
            stop = min(start + rows, len(self))
            yield Block(_Part(self, start, stop), self._deltas[start:stop])

    def columns(self, start: int, out: Matrix) -> None:
        """Copies of some columns."""
        out[:] = self._deltas[:, start : start + out.shape[1]]

    def at(self, row: int) -> ClientUpdate:
        """One of them."""
        ids, samples, steps, losses, staleness = self._figures
        return ClientUpdate(
            device_id(int(ids[row])),
            int(samples[row]),
            self._deltas[row],
            0 if staleness is None else int(staleness[row]),
            int(steps[row]),
            float(losses[row]),
            None if self._controls is None else self._controls[row],
        )


class _Part(Sequence[ClientUpdate]):
    """Some updates in a row, made one at a time."""

    def __init__(self, updates: RoundUpdates, start: int, stop: int) -> None:
        self._updates, self._rows = updates, range(start, stop)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> ClientUpdate: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[ClientUpdate]: ...

    def __getitem__(self, place: int | slice) -> ClientUpdate | Sequence[ClientUpdate]:
        if isinstance(place, slice):
            return [self._updates.at(row) for row in self._rows[place]]
        return self._updates.at(self._rows[place])

    def __iter__(self) -> Iterator[ClientUpdate]:
        return map(self._updates.at, self._rows)
