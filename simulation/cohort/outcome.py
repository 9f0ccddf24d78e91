"""Outcomes that are filled in."""

import numpy as np

from simulation.cohort.task import Outcome


def nothing(clients: int) -> Outcome:
    """Nobody has done anything yet."""
    return Outcome(
        metrics=np.zeros((0, 0)),
        samples=np.zeros(clients, np.int64),
        steps=np.zeros(clients, np.int64),
        train_losses=np.zeros(clients),
        losses=np.full(clients, np.nan),
        rate_sums=np.ones(clients),
        declined={},
        keeps=np.zeros(clients, np.bool_),
    )
