"""A device's control variate in one round: what it adds to the gradients, what of it travels, what it becomes.

It advances by what the aggregator reads from the update, so that both have the same however coarse the encoding is:
what was rounded off a change of SCAFFOLD's is in the next one.
"""

import numpy as np

from fedloom.compression import Encoding
from fedloom.learning.corrections import feddyn_change, feddyn_term, scaffold_change, scaffold_term
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from fedloom.wire.encoding import decode
from fedloom.wire.messages import Update


class Variate:
    """Of one round; does nothing where the plan has no correction."""

    def __init__(self, plan: TrainPlan, own: Vector | None, common: Vector | None, size: int) -> None:
        """`own` (p,) is the device's, None where it is zero; `common` (p,) the server's, which SCAFFOLD has.

        Raises:
            ValueError: they do not fit a model of `size` weights.
        """
        self._plan = plan
        self._own: Vector = np.zeros(size, np.float32) if own is None else own
        self._common: Vector = np.zeros(0, np.float32) if common is None else common
        for each in (self._own, self._common) if plan.correction == "scaffold" else (self._own,):
            if each.size != size:
                raise ValueError(f"a control variate of {each.size} numbers for {size} weights")
        self.term = self._term()
        """(p,) added to each step's gradient; None is nothing."""

    def _term(self) -> Vector | None:
        match self._plan.correction:
            case "none":
                return None
            case "feddyn":
                return feddyn_term(self._own)
            case "scaffold":
                return scaffold_term(self._own, self._common)

    def change(self, delta: Vector, rate_sum: float) -> Vector | None:
        """(p,) that travels beside the weight difference `delta` (p,); None where nothing does."""
        if self._plan.correction != "scaffold":
            return None
        return scaffold_change(delta, rate_sum, self._common)

    def advanced(self, update: Update, encoding: Encoding) -> bytes | None:
        """What it becomes when this update counts, little-endian float32; None where there is none.

        Raises:
            Refused: NON_FINITE.
        """
        if self._plan.correction == "none":
            return None
        sent = np.empty_like(self._own)
        decode(update.control or update.vector, encoding, sent)
        if self._plan.correction == "feddyn":
            sent = feddyn_change(sent, self._plan.proximal_mu)
        sent += self._own
        return sent.astype("<f4", copy=False).tobytes()
