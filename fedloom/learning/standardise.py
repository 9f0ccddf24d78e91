"""Federated standardisation: sums that devices add up, and the input layer that follows from them.

Mean and deviation come from n, Σx and Σx² in float64. Cancellation in Σx²/n − mean² leaves the variance with a relative
error of at most u·(1024 + n/1024)·(2 + r²), u = 1.1·10⁻¹⁶, r = |mean| / deviation (sums of 1,024 rows are added up):
2·10⁻⁵ at r = 10⁴ for a million samples, and far less than this worst case in practice. Where r exceeds 10⁷ the variance
is noise, but there float32 features (u = 6·10⁻⁸) do not hold the variation in the first place: they count as constant.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Array, Vector

Sums = NDArray[np.float64]

BLOCK_ROWS = 1024
MAX_MAGNITUDE = 1e18
"""Root mean square up to which mean and deviation of any number of devices are finite, and squares too, in float32."""
CONSTANT = 1e-14
"""A variance below this share of the mean square is rounding error, not variation."""


class Standardiser(NamedTuple):
    """x ↦ (x − shift) / scale, feature by feature."""

    shift: Vector
    """(d,) float32."""
    scale: Vector
    """(d,) float32, > 0; 1 for constant features."""

    def apply(self, x: Array) -> NDArray[np.float32]:
        """Standardised (n, d) features, a new array."""
        out: NDArray[np.float32] = np.subtract(x, self.shift, dtype=np.float32)
        np.divide(out, self.scale, out=out)
        return out


class Moments(NamedTuple):
    """Number, sums and sums of squares of (n, d) features: what a device tells about its data before round 1."""

    samples: int
    total: Sums
    """(d,) Σx."""
    squares: Sums
    """(d,) Σx²."""

    @classmethod
    def of(cls, x: Array) -> "Moments":
        """The moments of (n, d) features, read in blocks of bounded memory."""
        total, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        for start in range(0, len(x), BLOCK_ROWS):
            block = x[start : start + BLOCK_ROWS].astype(np.float64)
            total += block.sum(0)
            squares += np.square(block, out=block).sum(0)
        return cls(len(x), total, squares)

    @classmethod
    def from_vector(cls, vector: NDArray[np.float64], features: int) -> "Moments":
        """Moments that a peer sent.

        Raises:
            ValueError: wrong length, not finite, a count that is not whole, or sums that no data can have.
        """
        vector = np.array(vector, np.float64)
        if vector.shape != (1 + 2 * features,):
            raise ValueError(f"moments of shape {vector.shape}, expected {(1 + 2 * features,)}")
        if not np.isfinite(vector).all():
            raise ValueError("moments are not finite")
        count, total, squares = float(vector[0]), vector[1 : 1 + features], vector[1 + features :]
        if count < 0 or count != int(count) or count > 2**53:
            raise ValueError("moments hold a count that is not a whole number")
        # Cauchy–Schwarz: (Σx)² ≤ n·Σx²; compared as roots, so that nothing overflows
        if (squares < 0.0).any() or (np.abs(total) > np.sqrt(count) * np.sqrt(squares) * (1.0 + 1e-9)).any():
            raise ValueError("moments hold sums that no data can have")
        if not count and squares.any():
            raise ValueError("moments of no samples hold sums")
        return cls(int(count), total, squares)

    def to_vector(self) -> NDArray[np.float64]:
        """[samples, Σx…, Σx²…], (1 + 2d,)."""
        return np.concatenate([[float(self.samples)], self.total, self.squares])

    @property
    def magnitudes(self) -> Sums:
        """(d,) root mean square of each feature; 0 where there are no samples."""
        return np.sqrt(self.squares / max(self.samples, 1))

    def __add__(self, other: object) -> "Moments":
        """The moments of both sets of samples together."""
        if not isinstance(other, Moments):
            return NotImplemented
        if self.total.shape != other.total.shape:
            raise ValueError("moments of different numbers of features do not add")
        return Moments(self.samples + other.samples, self.total + other.total, self.squares + other.squares)

    def standardiser(self) -> Standardiser:
        """Mean 0 and (population) deviation 1 over all samples that were added up.

        Raises:
            ValueError: there are no samples.
        """
        if not self.samples:
            raise ValueError("no samples to standardise by")
        mean = self.total / self.samples
        mean_square = self.squares / self.samples
        variance = mean_square - mean * mean
        is_constant = variance <= CONSTANT * mean_square
        scale = np.sqrt(np.where(is_constant, 1.0, variance)).astype(np.float32)
        scale[scale < np.finfo(np.float32).tiny] = 1.0  # too small for float32: what is divided by it may overflow
        return Standardiser(mean.astype(np.float32), scale)
