"""scikit-learn's own small data sets: those that come with it, of which nothing is downloaded."""

import numpy as np

from fedloom.data.table import Table
from simulation.extras import require

SHAPES = {"breast_cancer": (569, 30, 2), "diabetes": (442, 10, 0), "digits": (1797, 64, 10), "iris": (150, 4, 3),
          "wine": (178, 13, 3)}  # fmt: skip
"""Samples, features and classes (0: a number is to be predicted) of each."""
NAMES = tuple(SHAPES)
_SCALES = {"digits": 16.0}
"""What features are divided by, so that pixels are in [0, 1]."""


def load(name: str) -> Table:
    """`x` (n, d) and `y` (n,): class numbers, or the number to predict. In a random order that is always the same: some
    of these sets are sorted by class, and the last rows may be what is held out.

    Raises:
        InputError: scikit-learn is not installed.
    """
    require("sklearn", f"data set {name}", "fedloom[sim]")
    import sklearn.datasets  # takes a second

    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    numbers = {"x": (x[order] / _SCALES.get(name, 1.0)).astype(np.float32)}
    if y.dtype.kind == "i":
        return Table(numbers | {"y": y[order].astype(np.float32)}, {"y": y[order]}, None)
    return Table(numbers | {"y": y[order].astype(np.float32)}, {}, None)
