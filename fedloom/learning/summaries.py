"""From counts and sums to the figures that people read. A ratio of nothing to nothing is 0."""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]


def summarise_classes(confusion: Counts) -> dict[str, float]:
    """Accuracy; macro precision, recall and F1 over the classes that occur (true or predicted); the same for each."""
    precision, recall, f1 = _per_class(confusion)
    occurs = (confusion.sum(0) + confusion.sum(1)) > 0
    figures = {"accuracy": float(np.trace(confusion) / confusion.sum())}
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        figures[name] = float(values[occurs].mean())
        figures |= {f"{name}_{number}": float(value) for number, value in enumerate(values)}
    return figures


def summarise_binary(confusion: Counts, histograms: Counts) -> dict[str, float]:
    """As above, but precision, recall and F1 are those of class 1; and AUC."""
    figures = summarise_classes(confusion)
    for name in ("precision", "recall", "f1"):
        figures[name] = figures[f"{name}_1"]
    return figures | {"auc": area_under_curve(histograms)}


def summarise_regression(samples: float, sums: Counts) -> dict[str, float]:
    """MSE, RMSE, MAE and R², each averaged over the outputs; R² of a constant target is 0, or 1 without any error.

    R² needs Σ(y − ȳ)² = Σy² − (Σy)²/n, which loses digits where ȳ is far larger than y's deviation s: its relative
    error is about 10⁻¹⁶·(1 + ȳ²/s²).
    """
    squared, absolute, total, total_squared = sums
    spread = total_squared - total * total / samples
    is_constant = spread <= 1e-14 * total_squared
    r2 = 1.0 - squared / np.where(is_constant, 1.0, spread)
    r2 = np.where(is_constant, np.where(squared == 0.0, 1.0, 0.0), r2)
    mse = float(squared.mean() / samples)
    return {"mse": mse, "rmse": mse**0.5, "mae": float(absolute.mean() / samples), "r2": float(r2.mean())}


def area_under_curve(histograms: Counts) -> float:
    """P(score of a positive > score of a negative) + ½·P(same bin); NaN if a class is missing."""
    negatives, positives = histograms
    pairs = negatives.sum() * positives.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + 0.5 * negatives)).sum() / pairs)


def _per_class(confusion: Counts) -> tuple[Counts, Counts, Counts]:
    hits, truly, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    return _ratio(hits, predicted), _ratio(hits, truly), _ratio(2.0 * hits, truly + predicted)


def _ratio(part: Counts, whole: Counts) -> Counts:
    ratio: Counts = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return ratio
