"""The losses of `fedloom.learning.losses`, a row at a time."""

import math
from typing import Any

import numpy as np

from fedloom.learning.layout import Array
from fedloom.learning.plan import Loss
from simulation.cohort.compiled.machine import compiled

SQUARES, HUBER, BINARY, CLASSES = range(4)
NUMBER_OF: dict[Loss, int] = {
    "mse": SQUARES,
    "huber": HUBER,
    "binary_cross_entropy": BINARY,
    "cross_entropy": CLASSES,
}


@compiled
def lose(kind: int, delta: float, z: Array, at: int, targets: Array, row: int, factor: float) -> Any:
    """The loss of the logits z[at:at + k] against `targets[row]`, (k,); leaves ∂loss/∂z·`factor` in their place."""
    if kind == CLASSES:
        return _classes(z, at, targets, row, factor)
    if kind == BINARY:
        return _binary(z, at, targets, row, factor)
    half, total = z.dtype.type(0.5), z.dtype.type(0.0)
    for j in range(targets.shape[1]):
        error = z[at + j] - targets[row, j]
        clipped = error
        if kind == HUBER:
            clipped = min(max(error, -delta), delta)
        total += clipped * (error - half * clipped)
        z[at + j] = factor * clipped
    return total


@compiled
def _classes(z: Array, at: int, targets: Array, row: int, factor: float) -> Any:
    highest, along, total = z[at], z.dtype.type(0.0), z.dtype.type(0.0)
    width = targets.shape[1]
    for j in range(1, width):
        highest = max(highest, z[at + j])
    for j in range(width):
        z[at + j] -= highest
        along += z[at + j] * targets[row, j]
        z[at + j] = math.exp(z[at + j])
        total += z[at + j]
    for j in range(width):
        z[at + j] = factor * (z[at + j] / total - targets[row, j])
    return np.log(total) - along


@compiled
def _binary(z: Array, at: int, targets: Array, row: int, factor: float) -> Any:
    half, none, total = z.dtype.type(0.5), z.dtype.type(0.0), z.dtype.type(0.0)
    for j in range(targets.shape[1]):
        logit = z[at + j]
        total += max(logit, none) + math.log1p(math.exp(-abs(logit))) - targets[row, j] * logit
        z[at + j] = factor * (half + half * math.tanh(half * logit) - targets[row, j])
    return total
