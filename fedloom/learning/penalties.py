"""Terms of the loss that look at the weights only: L1, L2, FedProx's proximal term, and a linear one.

l1·Σ|w| + ½·l2·‖w‖² + ½·μ·‖w − w_global‖² + ⟨b, w⟩, biases included. Source of the third: Li et al. 2020,
arXiv:1812.06127, eq. 2; where b comes from: fedloom.learning.corrections.
"""

import numpy as np

from fedloom.learning.layout import Array
from fedloom.learning.plan import TrainPlan


class Penalties:
    """Adds the penalties' gradient for (c, p) weights; costs nothing where a plan has none."""

    def __init__(self, plan: TrainPlan, weights: Array) -> None:
        self._l1, self._l2, self._mu = plan.l1, plan.l2, plan.proximal_mu
        is_used = bool(self._l1 or self._l2 or self._mu)
        self._scratch: Array = np.zeros_like(weights if is_used else weights[:, :0])
        self._anchor: Array = np.zeros_like(weights if self._mu else weights[:, :0])
        self._is_corrected = plan.correction != "none"
        self._linear: Array = np.zeros_like(weights if self._is_corrected else weights[:, :0])
        self._scaled: Array = np.zeros_like(self._linear)
        """gain·b, for the gain below: it is the same in each step unless the learning rate has a schedule."""
        self._scaled_by = 0.0

    def start(self, anchor: Array, linear: Array | float = 0.0) -> None:
        """Remember the global weights that the proximal term pulls towards, and b; each (p,) for all or (c, p)."""
        if self._mu:
            self._anchor[:] = anchor
        if self._is_corrected:
            self._linear[:] = linear
            self._scaled.fill(0.0)
            self._scaled_by = 0.0

    def add_to(self, gradient: Array, weights: Array, gain: float) -> None:
        """gradient += gain·(l1·sign(w) + l2·w + μ·(w − w_global) + b); sign(0) = 0 is the subgradient taken."""
        scratch = self._scratch
        if self._l2:
            np.multiply(weights, gain * self._l2, out=scratch)
            np.add(gradient, scratch, out=gradient)
        if self._l1:
            np.sign(weights, out=scratch)
            np.multiply(scratch, gain * self._l1, out=scratch)
            np.add(gradient, scratch, out=gradient)
        if self._mu:
            np.subtract(weights, self._anchor, out=scratch)
            np.multiply(scratch, gain * self._mu, out=scratch)
            np.add(gradient, scratch, out=gradient)
        if self._is_corrected:
            if gain != self._scaled_by:
                np.multiply(self._linear, gain, out=self._scaled)
                self._scaled_by = gain
            np.add(gradient, self._scaled, out=gradient)
