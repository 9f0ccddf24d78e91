"""Norms of updates, and distances between them: one pass over column tiles, whatever the number of pairs."""

import numpy as np
from numpy.typing import DTypeLike, NDArray

from strategies.base import Direction, Updates
from strategies.tiles import tiles

Distances = NDArray[np.float64]
"""(n, n), symmetric, zeros on the diagonal."""
COLUMNS = 1024
"""That are multiplied at once: sums of more would be rounded in float32, fewer do not fill a matrix product."""
LIKENESS = 1 / 64
"""Two updates whose squared distance is a smaller share of ‖Δ_i‖² + ‖Δ_j‖² are too much alike for float32."""
SHORTEST = 1e-31
"""In float32 products of weights may be wrong by 10⁻³⁸; what they add up to has to be larger than `size` times this."""


def squared_distances(updates: Updates, size: int) -> Distances:
    """‖Δ_i − Δ_j‖² of all pairs, as ‖Δ_i‖² + ‖Δ_j‖² − 2·Δ_i·Δ_j from one product.

    In float32, which takes half the time, where every distance is then right to 10⁻⁵ or so; else again in float64, so
    that what two updates share does not drown what they differ in. Not centred: one attacker, as far away as it likes,
    would move the centre and drown the distances between all the others.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold shows below
        pairs, squares = _pairs(updates, size, np.float32)
        is_exact = np.isfinite(pairs) & (pairs >= np.maximum(LIKENESS * squares, SHORTEST * size))
    if not is_exact[~np.eye(len(updates), dtype=bool)].all():
        pairs, _ = _pairs(updates, size, np.float64)
    return np.maximum(pairs, 0.0, out=pairs)


def _pairs(updates: Updates, size: int, dtype: DTypeLike) -> tuple[Distances, Distances]:
    """Squared distances, perhaps a little below zero, and ‖Δ_i‖² + ‖Δ_j‖²."""
    products = np.zeros((len(updates), len(updates)))
    for tile in tiles(updates, size):
        for first in range(0, tile.deltas.shape[1], COLUMNS):
            part = tile.deltas[:, first : first + COLUMNS].astype(dtype, copy=False)
            products += part @ part.T
    diagonal = np.diagonal(products)
    squares = diagonal[:, None] + diagonal  # added to each other first: so both halves have the same bits
    return squares - 2.0 * products, squares


def norms(updates: Updates, size: int, centre: Direction | None = None) -> NDArray[np.float64]:
    """‖Δ_k − centre‖ of each, (n,) in order; finite whatever float32 holds. Without a centre: ‖Δ_k‖."""
    squares = np.zeros(len(updates))
    for tile in tiles(updates, size):
        for number, row in enumerate(tile.deltas):
            away = row.astype(np.float64)
            if centre is not None:
                away -= centre[tile.columns]
            squares[number] += away @ away
    return np.asarray(np.sqrt(squares))
