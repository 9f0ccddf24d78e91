"""Feature skew: clients have the same mixture of classes, and see it each in its way.

- Noise: client i of N adds Gaussian noise of variance σ·i/N. Source: Li et al. 2022 (NIID-Bench), arXiv:2102.02079.
- Rotation: client i turns its images, which must be square, by i/N of an angle, bilinearly, with zeros beyond the edge.
  Source: Ghosh et al. 2020 (IFCA; there by four angles), arXiv:2006.04088.
"""

import math

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from simulation.population.base import Ids, Samples
from simulation.population.hashing import at, keys, mixed, uniform

_BLOCK = 1 << 20
"""Values for which noise is drawn at once: bounds the memory."""


class Seen:
    """A `View`: how clients see a row depends on the client and the row, not on what else was asked for."""

    def __init__(self, clients: int, noise: float, rotation: float, seed: int) -> None:
        """`noise`: the last client's variance. `rotation`: the last client's angle, degrees."""
        self._clients = clients
        self._noise = noise
        self._rotation = rotation
        self._seed = seed

    def __call__(self, pool: Dataset, ids: Ids, samples: Samples) -> Array:
        """See `View`."""
        x: Array = pool.x[samples.rows]
        shares = (ids + 1) / self._clients
        if self._rotation:
            for number, (first, stop) in enumerate(zip(samples.starts[:-1], samples.starts[1:], strict=True)):
                x[first:stop] = turned(x[first:stop], self._rotation * float(shares[number]))
        if self._noise:
            self._add_noise(x, ids, samples, np.sqrt(self._noise * shares))
        return x

    def _add_noise(self, x: Array, ids: Ids, samples: Samples, deviations: NDArray[np.float64]) -> None:
        owner = np.repeat(np.arange(len(ids)), samples.sizes)
        streams = mixed(keys(self._seed, "noise", ids)[owner] + samples.rows.astype(np.uint64))
        scales = deviations[owner].astype(np.float32)[:, None]
        pairs = (x.shape[1] + 1) // 2
        rows = max(1, _BLOCK // x.shape[1])
        for first in range(0, len(x), rows):
            part = slice(first, first + rows)
            radius, angle = uniform(at(streams[part, None], np.arange(pairs)))
            radius = np.sqrt(-2.0 * np.log(radius))
            angle *= 2.0 * np.pi
            normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, : x.shape[1]]
            x[part] += scales[part] * normal.astype(np.float32)


def turned(images: Array, degrees: float) -> Array:
    """(n, s·s) square images turned anticlockwise about their centre.

    >>> turned(np.array([[1, 2, 3, 4]], np.float32), 90.0).round(6).tolist()
    [[2.0, 4.0, 1.0, 3.0]]
    """
    side = math.isqrt(images.shape[1])
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    centre = (side - 1) / 2
    row, column = np.divmod(np.arange(side * side), side)
    from_row = centre + cosine * (row - centre) + sine * (column - centre)
    from_column = centre - sine * (row - centre) + cosine * (column - centre)
    top, left = np.floor(from_row).astype(np.intp), np.floor(from_column).astype(np.intp)
    out = np.zeros_like(images)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (1.0 - np.abs(from_row - top - down)) * (1.0 - np.abs(from_column - left - right))
        is_inside = (top + down >= 0) & (top + down < side) & (left + right >= 0) & (left + right < side)
        place = np.where(is_inside, (top + down) * side + left + right, 0)
        out += images[:, place] * np.where(is_inside, weight, 0.0).astype(np.float32)
    return out
