"""MNIST as arrays, from the four files as they are distributed."""

from pathlib import Path
from typing import NamedTuple

from fedloom.learning.dataset import Dataset
from simulation.population import images

PIXELS, CLASSES = 784, 10


class Mnist(NamedTuple):
    """Pixels from 0 to 1."""

    train: Dataset
    test: Dataset


def load(folder: Path) -> Mnist:
    """60,000 samples to train on, 10,000 to test on."""
    return Mnist(_part(folder, images.TRAINING), _part(folder, images.TEST))


def _part(folder: Path, name: str) -> Dataset:
    table = images.load(folder, name)
    return Dataset(table.numbers["x"], table.labels["y"])
