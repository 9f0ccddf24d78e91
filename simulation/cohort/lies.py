"""What liars send in the place of what they have trained: forged, then encoded as everybody's update is.

A liar is a device that does all that an honest one does, and then says that its training has come to something else. So
the second vector of SCAFFOLD is the one that goes with the forged first, and error feedback goes on from what was
forged. Its control variate goes on as if it had told the truth, when its update counts: it is the liar's own to choose,
and with what was forged it would soon know no more what honest training comes to.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector
from simulation.cohort.memory import ClientMemory, Truth
from simulation.cohort.round import Asked, Done
from simulation.cohort.sending import CONTROL, UPDATE, Refusals, Sending, changes, sound
from simulation.cohort.task import Common, Context
from simulation.population.base import Ids
from strategies.base import Matrix


class Liars(NamedTuple):
    """Of one round."""

    context: Context
    clients: ClientMemory
    commons: Mapping[int, Common]
    """By the numbers of the rounds from whose models the clients have trained."""
    bases: Ids
    """(n,) of each of them."""

    def speak(self, asked: Asked, done: Done, moved: Vector, round_number: int) -> Truth | None:
        """Change what has arrived of `done` in its place; returns what was true of it, None where nobody lies.

        `moved` (b,) is what the last round has added to the model.
        """
        attackers, able = self.context.attackers, done.is_able
        if attackers is None or not (lies := attackers.forging(asked.ids, self.bases) & able).any():
            return None
        rows = np.flatnonzero(lies)
        truth = Truth(rows, done.deltas[rows], None if done.controls is None else done.controls[rows])
        with np.errstate(over="ignore", invalid="ignore"):  # no aggregator admits what comes of that
            done.deltas[rows] = attackers.forge(done.deltas[able], lies[able], moved, round_number)
            for base in np.unique(self.bases[rows]).tolist():  # a client that is there twice has sent the older first
                self._send(asked, done, rows[self.bases[rows] == base], self.commons[base])
        return truth

    def _send(self, asked: Asked, done: Done, rows: NDArray[np.intp], common: Common) -> None:
        """Put what arrives of these rows in their places."""
        ids, vectors, everybody = asked.ids[rows], done.deltas[rows], np.arange(len(rows))
        sending = Sending(self.context.job, common.round, ids)
        if done.controls is not None and common.control is not None:
            controls = changes(vectors, done.rate_sums[rows], common.control)
            _spoil(controls, sending.exchange(controls, everybody, CONTROL))
            done.controls[rows] = controls
        residuals = self.clients.residuals(ids)
        if residuals is None:
            _spoil(vectors, sending.exchange(vectors, everybody, UPDATE))
            done.deltas[rows] = vectors
            return
        refused, lost = sending.with_feedback(vectors, everybody, residuals)
        _spoil(vectors, refused)
        done.deltas[rows] = vectors
        if done.residuals is not None:
            done.residuals[rows] = lost
        else:  # what the others keep is settled by now: `simulation.cohort.gathering`
            rules = self.context.job.update
            is_in = (done.samples[rows] <= rules.max_samples) & sound(vectors, rules.max_norm)
            self.clients.lost(ids, lost, is_in)


def _spoil(vectors: Matrix, refused: Refusals) -> None:
    """An honest device would decline; what a liar sends here is refused."""
    vectors[list(refused)] = np.nan
