"""Norms of updates, and distances between them: one pass over column tiles, whatever the number of pairs."""

import numpy as np
from numpy.typing import NDArray

from strategies.base import Direction, Updates
from strategies.tiles import tiles

Distances = NDArray[np.float64]
"""(n, n), symmetric, zeros on the diagonal."""
PRODUCT_BYTES = 2**18
"""Of float64 that are multiplied at once, so that they stay in the processor's cache."""


def squared_distances(updates: Updates, size: int) -> Distances:
    """‖Δ_i − Δ_j‖² of all pairs, as ‖Δ_i‖² + ‖Δ_j‖² − 2·Δ_i·Δ_j from one product.

    In float64, so that what two updates share does not drown what they differ in. Not centred: one attacker, as far
    away as it likes, would move the centre and drown the distances between all the others.
    """
    count = len(updates)
    products = np.zeros((count, count))
    width = max(64, PRODUCT_BYTES // (8 * count))
    for tile in tiles(updates, size):
        for first in range(0, tile.deltas.shape[1], width):
            part = tile.deltas[:, first : first + width].astype(np.float64)
            products += part @ part.T
    squares = np.diagonal(products)
    pairs = squares[:, None] + squares  # added to each other first: so both halves have the same bits
    pairs -= 2.0 * products
    return np.maximum(pairs, 0.0, out=pairs)


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
