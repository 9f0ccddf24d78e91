"""What clients keep from round to round, a row each: who was never asked costs nothing."""

import numpy as np

from fedloom.learning.layout import Vector
from simulation.cohort.matrix import allocate
from simulation.population.base import Ids
from strategies.base import Matrix

_FIRST_ROWS = 16


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
        if len(self._places) > len(self._rows):
            self._grow()
        self._rows[places] = rows

    def _grow(self) -> None:
        larger = allocate((max(len(self._places), 2 * len(self._rows)), self._rows.shape[1]))
        larger[: len(self._rows)] = self._rows
        self._rows = larger
