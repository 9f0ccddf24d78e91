"""One flat float32 vector holds all weights of a model; a `Layout` says which stretch is which tensor.

Encoding, encryption, hashing, fusing, clipping and distances are each one pass over the vector; layers are views.
"""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Floating-point numbers of the learning core's working type: float32, and float64 where tests need it."""

Vector = NDArray[np.float32]
"""(p,) float32, C-contiguous: all weights of a model, or a difference of such."""


class Layout(msgspec.Struct, frozen=True):
    """Names and shapes of the tensors that lie one behind the other in a flat vector."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """p, the number of weights."""
        return sum(map(math.prod, self.shapes))

    def views(self, flat: NDArray[Any]) -> list[NDArray[Any]]:
        """The tensors as views of `flat`, (…, p) → (…, *shape); leading axes (clients) are kept."""
        views, start = [], 0
        for shape in self.shapes:
            stop = start + math.prod(shape)
            views.append(flat[..., start:stop].reshape(*flat.shape[:-1], *shape))
            start = stop
        return views
