"""What travels of a chunk's updates: encoded and decoded as on a device and on the aggregator, with error feedback."""

from collections.abc import Callable
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from fedloom.errors import Reason, Refused
from fedloom.job import Job
from fedloom.learning.layout import Vector
from fedloom.wire.encoding import decode, encode
from simulation.cohort.rounding import ROUNDED
from simulation.population.base import Ids, device_id
from strategies.base import Matrix

UPDATE, CONTROL = b"fedloom/1/encoding", b"fedloom/1/control"
"""Purposes of `Sending.exchange`."""
Refusals = dict[int, str]
"""Place in the chunk → why its update cannot be sent."""


class Sending:
    """Of a chunk in one round."""

    def __init__(self, job: Job, round_number: int, ids: Ids) -> None:
        self._job, self._round, self._ids = job, round_number, ids

    def with_feedback(self, deltas: Matrix, able: NDArray[np.intp], residuals: Matrix) -> tuple[Refusals, Matrix]:
        """Put in the place of each delta what arrives of it and of what was lost before, `residuals` (c, b).

        Returns what is lost now, (c, b); for those that are not `able`, or fail, what was lost before.
        """
        with np.errstate(over="ignore"):  # which is refused
            meant = deltas[able] + residuals[able]
        deltas[able] = meant
        refused = self.exchange(deltas, able, UPDATE)
        is_sent = np.array([place not in refused for place in able.tolist()], np.bool_)
        sent, lost = able[is_sent], residuals.copy()
        lost[sent] = meant[is_sent] - deltas[sent]
        return refused, lost

    def exchange(self, vectors: Matrix, able: NDArray[np.intp], purpose: bytes) -> Refusals:
        """Put in the place of each row what arrives of it; `purpose` keeps random numbers apart, as on the device."""
        rules = self._job.update
        if rules.encoding == "float32":
            return {}
        if rounded := ROUNDED.get(rules.encoding):
            return _at_once(vectors, able, lambda rows: rounded(rows, rules.options))
        refused: Refusals = {}
        for place in able.tolist():
            try:
                data = encode(vectors[place], rules.encoding, rules.options, self._seed(place, purpose))
                decode(data, rules.encoding, vectors[place])
            except Refused as reason:
                refused[place] = _told(reason)
        return refused

    def _seed(self, place: int, purpose: bytes) -> int:
        """See `edge_client.training`."""
        seed = f"{self._job.seed}/{device_id(int(self._ids[place])).hex()}/{self._round}".encode()
        return int.from_bytes(sha256(purpose + seed).digest(), "big")


def changes(deltas: Matrix, rate_sums: NDArray[np.float64], control: Vector) -> Matrix:
    """(c, p): `fedloom.learning.corrections.scaffold_change` of each."""
    found: Matrix = deltas * (-1.0 / rate_sums).astype(np.float32)[:, None]
    found -= control
    return found


def _at_once(vectors: Matrix, able: NDArray[np.intp], rounded: Callable[[Matrix], None]) -> Refusals:
    is_all = len(able) == len(vectors)
    mine = vectors if is_all else vectors[able]
    with np.errstate(over="ignore", invalid="ignore"):
        rounded(mine)
    if not is_all:
        vectors[able] = mine
    bad = able[~np.isfinite(mine).all(axis=1)]
    return dict.fromkeys(bad.tolist(), _told(Refused(Reason.NON_FINITE)))


def _told(reason: Refused) -> str:
    return f"the update cannot be encoded: {reason}"


def sound(vectors: Matrix, most: float) -> NDArray[np.bool_]:
    """(c,): which rows are finite and have a norm of `most` at the most, as the aggregator checks."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(vectors, vectors).astype(np.float64)
        for place in np.flatnonzero(~(squares < 0.99 * most * most)).tolist():  # what is not finite, too
            row = vectors[place].astype(np.float64)
            squares[place] = row @ row
    is_sound: NDArray[np.bool_] = np.isfinite(squares) & (squares <= most * most)
    return is_sound
