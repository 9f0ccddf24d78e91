"""What the compiled functions are given, in tuples of arrays and numbers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Array
from simulation.cohort.compiled.sparse import Places

SGD, MOMENTUM, NESTEROV, ADAM = range(4)


class Recipe(NamedTuple):
    """A plan in numbers, as far as a step needs it."""

    loss: int
    huber_delta: float
    is_relu: bool
    keep: float
    """The probability that a hidden unit is not dropped."""
    optimiser: int
    momentum: float
    beta1: float
    beta2: float
    """Both in double precision: of 1 − βⁿ single precision leaves a few digits."""
    epsilon: float
    pull: float
    """What the gradient has of the weights: l2 and μ."""
    l1: float
    clip_norm: float
    is_direct: bool
    """Plain SGD: the steps' products are added to the weights at once, and there is no gradient."""


class State(NamedTuple):
    """Of the clients, (g, weights) each, padded; what a plan does not need has no clients."""

    weights: Array
    constant: Array
    """What is added to each step's gradient: the linear term, and −μ·anchor."""
    first: Array
    """The velocity, or Adam's mean."""
    second: Array
    """Adam's squares."""


class Work(NamedTuple):
    """What one client's step needs, padded and flat."""

    gradient: Array
    inputs: Array
    """Of all layers, each with its column of ones."""
    deltas: Array
    turned: Array
    pulled: Array
    starts: NDArray[np.intp]
    places: Places
    values: Array


class Shape(NamedTuple):
    """See `Padded`."""

    layers: NDArray[np.intp]
    rows: int
    tile: int
    columns: int
    lanes: int
