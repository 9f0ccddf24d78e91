"""Samples in memory, ready for training."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Dataset(NamedTuple):
    """Features and targets of n samples."""

    x: NDArray[np.float32]
    """(n, d) float32, C-contiguous."""
    y: NDArray[np.float32] | NDArray[np.int64]
    """Regression: (n, k) float32. Classification: (n,) int64 class numbers; binary: 0 or 1."""

    @property
    def samples(self) -> int:
        """n."""
        return len(self.x)
