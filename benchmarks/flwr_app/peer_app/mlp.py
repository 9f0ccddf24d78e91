"""A ReLU multi-layer perceptron with softmax cross-entropy and mini-batch SGD, in plain numpy."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def initial(widths: list[int]) -> list[Array]:
    """[W (fan in, fan out), b (fan out,), …], He initialisation, seeded."""
    random = np.random.default_rng(0)
    arrays = []
    for fan_in, fan_out in pairwise(widths):
        arrays.append((random.standard_normal((fan_in, fan_out)) * np.sqrt(2.0 / fan_in)).astype(np.float32))
        arrays.append(np.zeros(fan_out, np.float32))
    return arrays


def train(arrays: list[Array], X: Array, y: NDArray[np.int64], epochs: int, batch_size: int, rate: float) -> None:
    """Change `arrays` in place. X is (n, inputs), y is (n,) class numbers."""
    random = np.random.default_rng(0)
    for _ in range(epochs):
        order = random.permutation(len(X))
        for start in range(0, len(X), batch_size):
            rows = order[start : start + batch_size]
            _step(arrays, X[rows], y[rows], np.float32(rate))


def _step(arrays: list[Array], X: Array, y: NDArray[np.int64], rate: np.float32) -> None:
    outputs = [X]
    last = len(arrays) - 2
    for index in range(0, len(arrays), 2):
        out = outputs[-1] @ arrays[index] + arrays[index + 1]
        outputs.append(out if index == last else np.maximum(out, 0))
    logits = outputs.pop()
    gradient = np.exp(logits - logits.max(axis=1, keepdims=True))
    gradient /= gradient.sum(axis=1, keepdims=True)
    gradient[np.arange(len(y)), y] -= 1
    gradient /= len(y)
    for index in range(last, -1, -2):
        inward = outputs.pop()
        behind = (gradient @ arrays[index].T) * (inward > 0) if index else gradient
        arrays[index] -= rate * (inward.T @ gradient)
        arrays[index + 1] -= rate * gradient.sum(axis=0)
        gradient = behind
