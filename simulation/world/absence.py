"""Devices that let attempts fail by their silence sit out: `aggregator.attendance.Attendance` for many at once."""

import numpy as np

from aggregator.attendance import MAX_ROUNDS_OUT
from simulation.world.draws import Ids, Mask


class Absence:
    """1, 2, 4 … rounds, or until they speak. Only devices that were silent cost memory."""

    def __init__(self) -> None:
        self._ids: Ids = np.empty(0, np.intp)
        """Sorted."""
        self._rounds = np.empty(0, np.int64)
        self._left = np.empty(0, np.int64)

    def missed(self, silent: Ids) -> None:
        """An attempt was aborted for want of these devices' answers."""
        rounds = np.where(self._ids_in(silent), np.minimum(2 * self._rounds, MAX_ROUNDS_OUT), self._rounds)
        left = np.where(self._ids_in(silent), rounds, self._left)
        new = silent[~np.isin(silent, self._ids)]
        ids = np.concatenate([self._ids, new])
        order = np.argsort(ids, kind="stable")
        ones = np.ones(len(new), np.int64)
        self._ids = ids[order]
        self._rounds, self._left = np.concatenate([rounds, ones])[order], np.concatenate([left, ones])[order]

    def spoke(self, ids: Ids) -> None:
        """An answer of each of these has come."""
        kept = ~self._ids_in(ids)
        self._ids, self._rounds, self._left = self._ids[kept], self._rounds[kept], self._left[kept]

    def open(self, ready: Ids, fewest: int) -> Ids:
        """Whom the round that is opened now may invite: all that are ready where too few of them speak."""
        out = self._ids[self._left > 0]
        self._left = np.maximum(self._left - 1, 0)
        speaking = ready[~np.isin(ready, out)] if out.size else ready
        return speaking if len(speaking) >= fewest else ready

    def _ids_in(self, ids: Ids) -> Mask:
        return np.isin(self._ids, ids)
