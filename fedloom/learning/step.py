"""One training step of a cohort: forward, loss, backward, penalties, clipping, update. Allocates nothing."""

import numpy as np
from numpy.typing import DTypeLike

from fedloom.learning.layout import Array
from fedloom.learning.losses import loss_function
from fedloom.learning.network import Network
from fedloom.learning.optimisers import optimiser
from fedloom.learning.penalties import Penalties
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec


class TrainingStep:
    """What a plan says about a single step, for `clients` clients and up to `batch` rows each."""

    def __init__(
        self, spec: ModelSpec, plan: TrainPlan, clients: int, batch: int, dtype: DTypeLike = np.float32
    ) -> None:
        self.network = Network(spec, clients, batch, dtype)
        self._loss = loss_function(plan.loss, plan.huber_delta)
        self._penalties = Penalties(plan, self.network.weights)
        self._optimiser = optimiser(plan, self.network.weights)
        self._clip_norm = plan.clip_norm
        self._norms: Array = np.zeros(clients, dtype)
        self._norms_column = self._norms[:, None]

    def start(self, weights: Array, linear: Array | float = 0.0, anchor: Array | None = None) -> None:
        """A new round from `weights`, (p,) for all or (c, p); `linear`, likewise, is added to each step's gradient.

        The proximal term pulls towards `anchor`, likewise; None is `weights`.
        """
        self.network.weights[:] = weights
        self._penalties.start(self.network.weights if anchor is None else anchor, linear)
        self._optimiser.reset()

    def run(
        self, rows: int, targets: Array, share: float | Array, rate: float, rng: np.random.Generator, values: Array
    ) -> None:
        """Train on the `rows` rows a client that lie in `network.inputs(rows)`, with their targets (c, rows, k).

        `share` is what a row counts in the gradient: 1/m in a plain mean, or (c, rows, 1) of weight/m, with zeros where
        a client has fewer rows; an array is used up. `values` (c, rows) receives the losses before the step.
        """
        network = self.network
        gain = self._optimiser.gain(rate)
        if isinstance(share, float):
            share *= gain
        else:
            np.multiply(share, gain, out=share)
        logits = network.forward(rows, rng)
        self._loss(logits, targets, share, values)
        network.backward(rows)
        self._penalties.add_to(network.gradient, network.weights, gain)
        if self._clip_norm:
            self._clip(network.gradient, self._clip_norm * gain)
        self._optimiser.update(network.weights, network.gradient, rate)

    def _clip(self, gradient: Array, limit: float) -> None:
        """Scale each client's gradient, penalties included, down to `limit` (Pascanu et al. 2013, arXiv:1211.5063)."""
        norms = self._norms
        np.vecdot(gradient, gradient, out=norms)
        np.sqrt(norms, out=norms)
        if norms.max() > limit:
            np.maximum(norms, limit, out=norms)
            np.divide(limit, norms, out=norms)
            np.multiply(gradient, self._norms_column, out=gradient)
