"""Metrics that add up exactly across devices: counts and sums travel, ratios are taken once, at the end.

As a flat float64 vector, whose length follows from the loss and the number of outputs k alone:

    [samples, Σ loss, …]
    cross_entropy:         … confusion matrix, k·k, row = true class, column = predicted class
    binary_cross_entropy:  … confusion matrix, 2·2, then the histogram of the predicted probability of class 1 among the
                           samples of class 0, AUC_BINS, and of class 1, AUC_BINS
    mse, huber:            … Σe² (k), Σ|e| (k), Σy (k), Σy² (k), with e = ŷ − y

Counts are exact up to 2⁵³, so metrics of a union equal the sum of the parts' to the bit; sums of reals do to rounding.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.plan import Loss
from fedloom.learning.summaries import summarise_binary, summarise_classes, summarise_regression

AUC_BINS = 512
"""Equal bins over [0, 1]; samples in one bin count as ties, so AUC is off by at most half the share of such pairs."""
HEAD = 2
"""samples, Σ loss."""

_LOWER_IS_BETTER = ("loss", "mse", "rmse", "mae")

Sums = NDArray[np.float64]


class Metrics(NamedTuple):
    """Sums over the samples that were evaluated."""

    loss: Loss
    outputs: int
    sums: Sums
    """(length(loss, outputs),)."""

    @staticmethod
    def length(loss: Loss, outputs: int) -> int:
        """Numbers in the vector."""
        match loss:
            case "cross_entropy":
                return HEAD + outputs * outputs
            case "binary_cross_entropy":
                return HEAD + 4 + 2 * AUC_BINS
            case "mse" | "huber":
                return HEAD + 4 * outputs

    @classmethod
    def zero(cls, loss: Loss, outputs: int) -> "Metrics":
        """No samples: the neutral element of adding."""
        return cls(loss, outputs, np.zeros(cls.length(loss, outputs)))

    @classmethod
    def from_vector(cls, vector: NDArray[np.float64], loss: Loss, outputs: int) -> "Metrics":
        """Metrics that a peer sent.

        Raises:
            ValueError: wrong length, not finite, negative, a count that is not whole, or counts that do not agree.
        """
        metrics = cls(loss, outputs, np.array(vector, np.float64))
        metrics._check()
        return metrics

    def to_vector(self) -> NDArray[np.float64]:
        """The flat vector, a copy."""
        return self.sums.copy()

    def __add__(self, other: object) -> "Metrics":
        """Metrics of the union of two sets of samples."""
        if not isinstance(other, Metrics):
            return NotImplemented
        if (self.loss, self.outputs) != (other.loss, other.outputs):
            raise ValueError("metrics of different models do not add")
        return Metrics(self.loss, self.outputs, self.sums + other.sums)

    @property
    def samples(self) -> int:
        """Samples evaluated."""
        return int(self.sums[0])

    @property
    def confusion(self) -> NDArray[np.float64]:
        """(classes, classes) counts, row = true class, column = predicted class; (0, 0) for regression."""
        classes = {"cross_entropy": self.outputs, "binary_cross_entropy": 2}.get(self.loss, 0)
        return self.sums[HEAD : HEAD + classes * classes].reshape(classes, classes)

    @property
    def histograms(self) -> NDArray[np.float64]:
        """Binary only: (2, AUC_BINS) counts of the probability of class 1, row = true class."""
        return self.sums[HEAD + 4 :].reshape(2, AUC_BINS)

    def summary(self) -> dict[str, float]:
        """Named figures; `samples` alone if there are none.

        Classification: loss, accuracy, precision, recall, f1, and the last three for each class as `f1_0`, …. Over
        several classes the plain ones are macro averages over the classes that occur; in the binary case they are
        class 1's, and there is auc. Regression: loss, mse, rmse, mae, r2, averaged over the outputs.
        """
        if not self.samples:
            return {"samples": 0.0}
        common = {"samples": float(self.samples), "loss": float(self.sums[1] / self.sums[0])}
        match self.loss:
            case "cross_entropy":
                return common | summarise_classes(self.confusion)
            case "binary_cross_entropy":
                return common | summarise_binary(self.confusion, self.histograms)
            case "mse" | "huber":
                return common | summarise_regression(self.sums[0], self.sums[HEAD:].reshape(4, self.outputs))

    def _check(self) -> None:
        expected = (self.length(self.loss, self.outputs),)
        if self.sums.shape != expected:
            raise ValueError(f"metrics of shape {self.sums.shape}, expected {expected}")
        if not np.isfinite(self.sums).all():
            raise ValueError("metrics are not finite")
        is_regression = self.loss in ("mse", "huber")
        signed = slice(HEAD + 2 * self.outputs, HEAD + 3 * self.outputs) if is_regression else slice(0, 0)  # Σy
        if (np.delete(self.sums, signed) < 0.0).any():
            raise ValueError("metrics hold a negative count or sum")
        counts = np.append(self.sums[:1], () if is_regression else self.sums[HEAD:])
        if (counts != np.floor(counts)).any() or counts[0] > 2**53:
            raise ValueError("metrics hold a count that is not whole, or too large to be exact")
        if not is_regression and self.confusion.sum() != self.sums[0]:
            raise ValueError("the confusion matrix does not add up to the number of samples")
        if self.loss == "binary_cross_entropy" and (self.histograms.sum(1) != self.confusion.sum(1)).any():
            raise ValueError("the histograms do not add up to the confusion matrix")


def lower_is_better(figure: str) -> bool:
    """Whether a smaller value of a named figure is a better one, whoever's it is.

    >>> lower_is_better("personal_loss"), lower_is_better("test_accuracy")
    (True, False)
    """
    return figure.rpartition("_")[2] in _LOWER_IS_BETTER
