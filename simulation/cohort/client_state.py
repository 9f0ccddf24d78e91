"""What clients keep from round to round, a row each: who was never asked costs nothing."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector
from simulation.cohort.matrix import allocate
from simulation.population.base import Ids
from strategies.base import Matrix

_FIRST_ROWS = 16
_AT_ONCE = 1024
"""Rows."""


class Kept:
    """A row (k,) for each client that has one."""

    def __init__(self, size: int) -> None:
        """`size` is k."""
        self._places: dict[int, int] = {}
        self._rows: Matrix = allocate((_FIRST_ROWS, size))

    def of(self, ids: Ids, otherwise: Vector | float = 0.0) -> Matrix:
        """(c, k): the clients' rows, a copy; `otherwise` (k,) is that of a client without one."""
        places = np.array([self._places.get(client, -1) for client in ids.tolist()], np.intp)
        found = self._rows[places]
        found[places < 0] = otherwise
        return found

    def put(self, ids: Ids, rows: Matrix) -> None:
        """They are these from now on."""
        places = [self._places.setdefault(client, len(self._places)) for client in ids.tolist()]
        self._make_room(0)
        self._rows[places] = rows

    def put_some(self, ids: Ids, rows: Matrix, which: NDArray[np.bool_]) -> None:
        """As `put`, of those that `which` (c,) says; no copy of all is made."""
        self._make_room(sum(client not in self._places for client in ids[which].tolist()))
        for first in range(0, len(ids), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            self.put(ids[part][which[part]], rows[part][which[part]])

    def _make_room(self, more: int) -> None:
        needed = len(self._places) + more
        if needed <= len(self._rows):
            return
        larger = allocate((max(needed, 2 * len(self._rows)), self._rows.shape[1]))
        larger[: len(self._rows)] = self._rows
        self._rows = larger


class Held(NamedTuple):
    """Rows (c, k) of some clients, copied when they are asked for: a round may ask more clients than have any."""

    kept: Kept
    ids: Ids
    otherwise: Vector | float = 0.0

    def rows(self, rows: slice | NDArray[np.intp]) -> Matrix:
        """Of some of them, as they are now."""
        return self.kept.of(self.ids[rows], self.otherwise)

    def still(self) -> "Held":
        """As they are now, whatever becomes of them."""
        every = self.rows(slice(None))
        copy = Kept(every.shape[1])
        copy.put(self.ids, every)
        return Held(copy, self.ids)
