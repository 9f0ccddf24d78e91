"""FLTrust: Δ = Σ_k s_k · (‖g₀‖ / ‖Δ_k‖) · Δ_k / Σ_k s_k with s_k = max(0, cos(Δ_k, g₀)), where g₀ is the update that
the aggregator has trained itself on a small root data set which nobody else had a hand in.

It needs no majority of honest devices. Samples do not weigh in: a liar would choose how many it claims.

Source: Cao, Fang, Liu, Gong 2021, "FLTrust: Byzantine-robust federated learning via trust bootstrapping", NDSS,
arXiv:2012.13995, algorithm 2.
"""

from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from strategies.base import Direction, FusionError, Updates, total_samples
from strategies.summing import sum_of_rows
from strategies.tiles import tiles

_SHORTEST = 1e-30
"""An update that is a smaller share of the aggregator's own counts for nothing: float32 does not hold its factor, and
one attacker would leave every round without a model."""


class FLTrust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mean of the updates, each as long as the aggregator's own and weighted by how far it points the same way."""

    is_asynchronous: ClassVar[bool] = False
    needs_root_set: ClassVar[bool] = True

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass for the scores, one for the sum."""
        total_samples(updates)  # refuses a round in which nobody has trained
        if updates.trusted is None:
            raise FusionError("fltrust needs an update that the aggregator has trained: set [root_set]")
        trusted = updates.trusted.astype(np.float64)
        length = float(np.linalg.norm(trusted))
        lengths, products = _compared(updates, trusted)
        counts = lengths > _SHORTEST * length
        cosines = np.divide(products, lengths * length, out=np.zeros_like(products), where=counts & (length > 0.0))
        scores = np.maximum(cosines, 0.0)
        if not scores.any():
            raise FusionError("fltrust: no update points the way of the aggregator's own; look at [root_set]")
        factors = np.divide(scores * length, lengths, out=np.zeros_like(scores), where=scores > 0.0)
        return sum_of_rows(size, updates, (factors / scores.sum()).tolist())


def _compared(updates: Updates, trusted: Direction) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """‖Δ_k‖ and Δ_k·g₀ of each, (n,) in order."""
    squares, products = np.zeros(len(updates)), np.zeros(len(updates))
    for tile in tiles(updates, trusted.size):
        for number, row in enumerate(tile.deltas):
            delta = row.astype(np.float64)
            squares[number] += delta @ delta
            products[number] += delta @ trusted[tile.columns]
    return np.sqrt(squares), products
