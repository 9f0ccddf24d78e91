"""Samples in the shape of MNIST, without MNIST: most of an image is background, the rest is grey."""

from pathlib import Path

import numpy as np

INPUTS = 784
CLASSES = 10
BACKGROUND = 0.8
"""MNIST: 80.9 % of all pixels are 0."""


def write(path: Path, samples: int, seed: int) -> Path:
    """An NPZ file with x, (samples, 784) float32 in [0, 1], and y, (samples,) class numbers."""
    random = np.random.default_rng(seed)
    x = random.random((samples, INPUTS), dtype=np.float32)
    x[random.random((samples, INPUTS)) < BACKGROUND] = 0.0
    np.savez(path, x=x, y=random.integers(0, CLASSES, samples))
    return path
