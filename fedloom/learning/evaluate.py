"""Federated evaluation: what a device measures of a model on its own hold-out."""

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.blocks import logits_in_blocks
from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from fedloom.learning.losses import encode_targets, loss_function, sigmoid
from fedloom.learning.metrics import AUC_BINS, HEAD, Metrics
from fedloom.learning.plan import Loss
from fedloom.learning.spec import ModelSpec


def evaluate(spec: ModelSpec, loss: Loss, weights: Array, data: Dataset, huber_delta: float = 1.0) -> Metrics:
    """Metrics of the model on `data`, without dropout, penalties or class weights.

    Raises:
        ValueError: weights or data do not fit the model.
    """
    if len(data.x) != len(data.y):
        raise ValueError(f"{len(data.x)} rows of features and {len(data.y)} targets")
    function = loss_function(loss, huber_delta)
    metrics = Metrics.zero(loss, spec.outputs)
    for rows, logits in logits_in_blocks(spec, weights, data.x):
        y = data.y[rows]
        targets = encode_targets(y, loss, spec.outputs, weights.dtype)
        metrics.sums[HEAD:] += measured(loss, logits[0], y, targets)
        values: Array = np.empty(logits.shape[:2], weights.dtype)
        function(logits, targets[None], 1.0, values)
        metrics.sums[0] += len(y)
        metrics.sums[1] += values.sum(dtype=np.float64)
    return metrics


def mean_loss(spec: ModelSpec, loss: Loss, weights: Array, data: Dataset, huber_delta: float = 1.0) -> float:
    """The mean of the samples' losses, as `evaluate` adds them up.

    Raises:
        ValueError: weights or data do not fit the model.
    """
    metrics = evaluate(spec, loss, weights, data, huber_delta)
    return float(metrics.sums[1] / metrics.sums[0])


def measured(loss: Loss, logits: Array, y: Array, targets: Array) -> NDArray[np.float64]:
    """What follows samples and loss in the metrics' vector, of one block: logits and targets (b, k)."""
    match loss:
        case "cross_entropy":
            return _confusion(y, logits.argmax(axis=1), logits.shape[1])
        case "binary_cross_entropy":
            score = logits.astype(np.float64)
            sigmoid(score)
            bins = np.minimum((score[:, 0] * AUC_BINS).astype(np.int64), AUC_BINS - 1)
            histograms = np.bincount(y * AUC_BINS + bins, minlength=2 * AUC_BINS)
            return np.concatenate([_confusion(y, logits[:, 0] > 0.0, 2), histograms])
        case "mse" | "huber":
            truth = targets.astype(np.float64)
            errors = logits - truth
            parts = (errors * errors, np.abs(errors), truth, truth * truth)
            return np.concatenate([part.sum(0) for part in parts])


def _confusion(y: Array, predicted: Array, classes: int) -> NDArray[np.float64]:
    return np.bincount(y * classes + predicted, minlength=classes * classes).astype(np.float64)
