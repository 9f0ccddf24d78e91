"""MNIST as arrays, from the four files as they are distributed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedloom.learning.dataset import Dataset

PIXELS, CLASSES = 784, 10
_IMAGES_HEAD, _LABELS_HEAD = 16, 8


class Mnist(NamedTuple):
    """Pixels from 0 to 1."""

    train: Dataset
    test: Dataset


def load(folder: Path) -> Mnist:
    """60,000 samples to train on, 10,000 to test on."""
    return Mnist(_part(folder, "train"), _part(folder, "t10k"))


def _part(folder: Path, name: str) -> Dataset:
    images = np.fromfile(folder / f"{name}-images-idx3-ubyte", np.uint8, offset=_IMAGES_HEAD)
    labels = np.fromfile(folder / f"{name}-labels-idx1-ubyte", np.uint8, offset=_LABELS_HEAD)
    return Dataset(np.divide(images.reshape(-1, PIXELS), 255, dtype=np.float32), labels.astype(np.int64))
