"""A client's epoch in plain numpy, as one writes it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from task import RATE, Array, Data, Task


def epoch(task: Task, start: Sequence[Array], data: Data, rng: np.random.Generator) -> list[Array]:
    """New arrays, from `start`, after every sample was seen once."""
    arrays = [array.copy() for array in start]
    order = rng.permutation(task.samples)
    for first in range(0, task.samples, task.batch):
        rows = order[first : first + task.batch]
        _step(arrays, data.x[rows], data.y[rows], task.is_regression)
    return arrays


def _step(arrays: list[Array], X: Array, y: NDArray[np.int64], is_regression: bool) -> None:
    outputs = [X]
    last = len(arrays) - 2
    for index in range(0, last, 2):
        outputs.append(np.maximum(outputs[-1] @ arrays[index] + arrays[index + 1], 0))
    gradient = outputs[-1] @ arrays[last] + arrays[last + 1]
    if is_regression:
        gradient[:, 0] -= y
    else:
        gradient = np.exp(gradient - gradient.max(axis=1, keepdims=True))
        gradient /= gradient.sum(axis=1, keepdims=True)
        gradient[np.arange(len(y)), y] -= 1
    gradient *= np.float32(RATE / len(y))
    for index in range(last, -1, -2):
        inward = outputs.pop()
        behind = (gradient @ arrays[index].T) * (inward > 0) if index else gradient
        arrays[index] -= inward.T @ gradient
        arrays[index + 1] -= gradient.sum(axis=0)
        gradient = behind
