"""Seeded initial weights.

Hidden ReLU layers: He uniform, U(±√(6 / fan in)) (He et al. 2015, arXiv:1502.01852). Tanh layers and the last layer:
Glorot uniform, U(±√(6 / (fan in + fan out))) (Glorot & Bengio 2010). Biases are zero.
"""

import math

import numpy as np

from fedloom.learning.layout import Vector
from fedloom.learning.spec import ModelSpec


def initial_weights(spec: ModelSpec, rng: np.random.Generator) -> Vector:
    """A fresh (p,) vector; the same generator state gives the same weights."""
    layout = spec.layout()
    flat: Vector = np.zeros(layout.size, np.float32)
    matrices = layout.views(flat)[::2]
    for number, matrix in enumerate(matrices):
        fan_in, fan_out = matrix.shape
        is_he = spec.activation == "relu" and number < len(spec.hidden)
        limit = math.sqrt(6.0 / (fan_in if is_he else fan_in + fan_out))
        matrix[:] = rng.uniform(-limit, limit, matrix.shape)
    return flat
