"""The clients' own models in a job with [personal]: what of one is kept between rounds, as rows of one matrix.

With `head` it is the last layers, w[b:]; with `ditto` the whole of it. A client that was never asked has the round's.
How it goes on is as on a device, see `edge_client.personal`.
"""

import numpy as np
from numpy.typing import NDArray

from fedloom.job import Job
from fedloom.learning.layout import Array, Vector
from simulation.cohort.trainer import CohortFit
from strategies.base import Matrix


class Own:
    """Of one chunk in one round."""

    def __init__(self, job: Job, weights: Vector, kept: Matrix | None) -> None:
        """`weights` (p,) are the round's; `kept` (c, k) what the clients have kept, None where nothing is."""
        self.method = job.personal.method if job.personal else None
        self.shared = job.shared_layout.size
        self.weights: Array = weights
        """(p,) if all have the round's model, else (c, p)."""
        if kept is not None:
            self.weights = kept.copy() if self.method == "ditto" else np.empty((len(kept), weights.size), np.float32)
            if self.method == "head":
                self.weights[:, : self.shared] = weights[: self.shared]
                self.weights[:, self.shared :] = kept
        self._common = weights

    @property
    def start(self) -> Array:
        """What the round's training starts from."""
        return self.weights if self.method == "head" else self._common

    def of(self, places: NDArray[np.intp]) -> Array:
        """(c, p): those of the clients at these places; (p,) if all have the round's model."""
        own: Array = self.weights if self.weights.ndim == 1 else self.weights[places]
        return own

    def spread(self, clients: int) -> None:
        """Each gets a copy of the round's model."""
        self.weights = np.tile(self._common, (clients, 1))

    def begin_again(self, places: NDArray[np.intp]) -> None:
        """What they have become is of no use."""
        if self.weights.ndim == 2:
            self.weights[places] = self._common

    def take(self, places: NDArray[np.intp], fit: CohortFit) -> None:
        """What those at these places were trained to; one that diverges begins again as the federation's."""
        trained = self.weights[places] + fit.deltas
        self.weights[places] = np.where(fit.diverged[:, None], self._common, trained)

    def kept(self) -> Matrix:
        """(c, k) for the next round."""
        return self.weights if self.method == "ditto" else np.ascontiguousarray(self.weights[:, self.shared :])


def width(job: Job) -> int:
    """k, the numbers that a client keeps; 0 for none."""
    match job.personal.method if job.personal else None:
        case "head":
            return job.model.layout().size - job.shared_layout.size
        case "ditto":
            return job.model.layout().size
        case _:
            return 0


def of_nobody(job: Job, weights: Vector) -> Vector:
    """(k,) what a client has that was never asked: the round's model."""
    start: Vector = weights[weights.size - width(job) :]
    return start
