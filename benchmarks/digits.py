"""scikit-learn's digits, dealt out to a fleet: evenly, or so that devices hold different classes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from fedloom.learning.dataset import Dataset

CLASSES = 10
_TEST = 360
_ROOT = 100
"""Samples that the aggregator keeps for itself, where a rule wants a root data set."""


class Fleet(NamedTuple):
    """Who has what."""

    devices: list[Dataset]
    root: Dataset
    test: Dataset


def deal(devices: int, alpha: float | None, rng: np.random.Generator) -> Fleet:
    """At random; with `alpha` each class in shares of a Dirichlet distribution (Yurochkin et al., arXiv:1905.12022)."""
    features, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(labels))
    data = Dataset((features[order] / 16.0).astype(np.float32), labels[order].astype(np.int64))
    test, root, train = (_rows(data, part) for part in np.split(np.arange(len(order)), [_TEST, _TEST + _ROOT]))
    parts = np.array_split(np.arange(train.samples), devices) if alpha is None else _uneven(train, devices, alpha, rng)
    return Fleet([_rows(train, part) for part in parts], root, test)


def _uneven(train: Dataset, devices: int, alpha: float, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Drawn again until everybody has a sample."""
    while True:
        parts: list[list[int]] = [[] for _ in range(devices)]
        for label in range(CLASSES):
            members = np.flatnonzero(train.y == label)
            cuts = (np.cumsum(rng.dirichlet([alpha] * devices))[:-1] * len(members)).astype(int)
            for part, piece in zip(parts, np.split(members, cuts), strict=True):
                part.extend(piece.tolist())
        if all(parts):
            return [np.array(part) for part in parts]


def _rows(data: Dataset, rows: NDArray[np.intp]) -> Dataset:
    return Dataset(data.x[rows], data.y[rows])
