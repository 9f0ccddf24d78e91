"""Softmax regression on three clouds of points in the plane; every node has most of its points in one of them."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
CENTRES = np.array([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]], np.float32)
BATCH = 16


def load_data(partition: int, samples: int = 300) -> tuple[Array, NDArray[np.int64]]:
    """x (n, 2) and its class (n,) of one node, always the same; `partition` is its number."""
    random = np.random.default_rng(partition)
    shares = np.full(len(CENTRES), 0.1)
    shares[partition % len(CENTRES)] += 0.7
    labels = random.choice(len(CENTRES), samples, p=shares)
    return CENTRES[labels] + random.normal(scale=1.0, size=(samples, 2)).astype(np.float32), labels


def initial_model() -> dict[str, Array]:
    """All zeros."""
    return {"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(3, np.float32)}


def train(
    model: dict[str, Array], x: Array, labels: NDArray[np.int64], epochs: int, rate: float, seed: int
) -> dict[str, Array]:
    """Another model, after stochastic gradient descent on these points."""
    weight, bias = model["weight"].copy(), model["bias"].copy()
    random = np.random.default_rng(seed)
    for _ in range(epochs):
        order = random.permutation(len(x))
        for rows in np.array_split(order, max(1, len(x) // BATCH)):
            error = _probabilities(weight, bias, x[rows])
            error[np.arange(len(rows)), labels[rows]] -= 1.0
            weight -= np.float32(rate) * (x[rows].T @ error / len(rows))
            bias -= np.float32(rate) * error.mean(axis=0)
    return {"weight": weight, "bias": bias}


def evaluate(model: dict[str, Array], x: Array, labels: NDArray[np.int64]) -> tuple[float, float]:
    """Mean cross-entropy, and the share of points in the right class."""
    probabilities = _probabilities(model["weight"], model["bias"], x)
    right = probabilities[np.arange(len(x)), labels]
    loss = -np.log(np.maximum(right, 1e-12)).mean()
    return float(loss), float((probabilities.argmax(axis=1) == labels).mean())


def _probabilities(weight: Array, bias: Array, x: Array) -> Array:
    logits = x @ weight + bias
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)
