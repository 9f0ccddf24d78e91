"""What comes of a chunk's training."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Array


class CohortFit(NamedTuple):
    """What came of a round of local training, for c clients; as `FitResult`, column by column."""

    deltas: Array
    """(c, p) new weights less those that the client started from; not finite where `diverged`, zero without samples."""
    samples: NDArray[np.intp]
    """(c,) samples that a client has."""
    steps: NDArray[np.intp]
    epochs: NDArray[np.intp]
    """(c,) epochs completed."""
    loss_sum: NDArray[np.float64]
    """(c,) Σ of the samples' losses in the last epoch, each before its own step."""
    loss_samples: NDArray[np.intp]
    diverged: NDArray[np.bool_]
    """(c,) whether loss or weights are no longer finite."""
    rate_sum: NDArray[np.float64]
    """(c,) Σ of the steps' learning rates."""
