"""The losses of `fedloom.learning.losses`, a row at a time."""

import math
from typing import Any

import numpy as np

from fedloom.learning.layout import Array
from fedloom.learning.plan import Loss
from simulation.cohort.compiled.machine import at, compiled

SQUARES, HUBER, BINARY, CLASSES = range(4)
NUMBER_OF: dict[Loss, int] = {
    "mse": SQUARES,
    "huber": HUBER,
    "binary_cross_entropy": BINARY,
    "cross_entropy": CLASSES,
}


@compiled
def lose(kind: int, delta: float, z: Array, begin: int, targets: Array, row: int, factor: float) -> Any:
    """The loss of k logits z from `begin` on against `targets[row]`, (k,); leaves ∂loss/∂z·`factor` in their place."""
    if kind == CLASSES:
        return _classes(z, at(begin), targets, at(row), factor)
    if kind == BINARY:
        return _binary(z, at(begin), targets, at(row), factor)
    return _errors(kind, delta, z, at(begin), targets, at(row), factor)


@compiled
def _errors(kind: int, delta: float, z: Array, first: int, targets: Array, row: int, factor: float) -> Any:
    half, total = z.dtype.type(0.5), z.dtype.type(0.0)
    for j in range(at(targets.shape[1])):
        error = z[first + j] - targets[row, j]
        clipped = error
        if kind == HUBER:
            clipped = min(max(error, -delta), delta)
        total += clipped * (error - half * clipped)
        z[first + j] = factor * clipped
    return total


@compiled
def _classes(z: Array, first: int, targets: Array, row: int, factor: float) -> Any:
    highest, along, total = z[first], z.dtype.type(0.0), z.dtype.type(0.0)
    width = at(targets.shape[1])
    for j in range(width):
        highest = max(highest, z[first + j])
    for j in range(width):
        z[first + j] -= highest
        along += z[first + j] * targets[row, j]
        z[first + j] = math.exp(z[first + j])
        total += z[first + j]
    for j in range(width):
        z[first + j] = factor * (z[first + j] / total - targets[row, j])
    return np.log(total) - along


@compiled
def _binary(z: Array, first: int, targets: Array, row: int, factor: float) -> Any:
    half, none, total = z.dtype.type(0.5), z.dtype.type(0.0), z.dtype.type(0.0)
    for j in range(at(targets.shape[1])):
        logit = z[first + j]
        total += max(logit, none) + math.log1p(math.exp(-abs(logit))) - targets[row, j] * logit
        z[first + j] = factor * (half + half * math.tanh(half * logit) - targets[row, j])
    return total
