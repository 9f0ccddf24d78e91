"""Some steps of a group at once: the first layer's weights stay as they are, and what the steps do to them is carried.

A step changes the first layer's weights by the rank-B product of its inputs and its deltas, G_t = X_tᵀ·D_t. So within a
block of S steps the products that step s needs are known without the weights that it would find:

    X_s·W_s = a_s·X_s·W + Σ_{t<s} k_st·(X_s·X_tᵀ)·D_t         (for plain SGD a = 1, k = −η)

X·W of the whole block is one large product, the small Gram matrix X·Xᵀ another, and the weights are changed once, by a
third, rank S·B. All are exact up to rounding. It is what blocked LU and the WY form do for Householder reflections
(Bischof, Van Loan 1987, doi:10.1137/0908009). A bias is one more input that is 1, which adds 1 to the Gram matrix.
What of the plan may stand between is in `simulation.cohort.affine`. The other layers take one step after the other,
as their inputs depend on the step before.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedloom.learning.layout import Array
from fedloom.learning.losses import loss_function
from fedloom.learning.network import Network
from fedloom.learning.optimisers import optimiser
from fedloom.learning.penalties import Penalties
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from simulation.cohort.affine import CONSTANT, FIRST_GRADIENT, START, VELOCITY, factors
from simulation.cohort.schedule import Schedule
from simulation.cohort.shards import Positions, Shards
from simulation.cohort.steps import InPlace

BLOCK_ROWS = 100
"""Rows of a block: more make the three products larger, but the Gram matrix, too, which costs more with every row."""


class Blocked(InPlace):
    """See the module. For plans that `is_affine`."""

    def __init__(self, spec: ModelSpec, plan: TrainPlan, clients: int, batch: int, dtype: DTypeLike) -> None:
        self._plan, self._batch = plan, batch
        self.stride = max(1, min(BLOCK_ROWS, spec.inputs) // batch)
        self._network = Network(spec, clients, batch, dtype)
        inputs, width = spec.inputs, spec.widths[1]
        size = (inputs + 1) * width
        self._loss = loss_function(plan.loss, plan.huber_delta)
        self._later, self._later_gradient = self.weights[:, size:], self._network.gradient[:, size:]
        self._penalties = Penalties(plan, self._later)
        self._optimiser = optimiser(plan, self._later)
        self._first = self.weights[:, :size].reshape(clients, inputs + 1, width)
        has_constant = bool(plan.proximal_mu) or plan.correction != "none"
        self._velocity = np.zeros_like(self._first if plan.optimiser != "sgd" else self._first[:, :0])
        self._constant = np.zeros_like(self._first if has_constant else self._first[:, :0])
        rows = self.stride * batch
        self._x = np.empty(clients * rows * inputs, dtype)
        self._products = np.empty(clients * rows * width, dtype)
        self._deltas = np.empty(clients * rows * width, dtype)
        self._change = np.empty((clients, inputs, width), dtype)
        self._is_common = False

    @property
    def weights(self) -> Array:
        """(g, p)."""
        return self._network.weights

    def start(self, weights: Array, linear: Array | float, anchor: Array | None) -> None:
        """See `Walker`."""
        self.weights[:] = weights
        self._is_common = weights.ndim == 1
        anchors = self.weights if anchor is None else np.broadcast_to(anchor, self.weights.shape)
        size = self._first[0].size
        self._penalties.start(anchors[:, size:], linear[..., size:] if isinstance(linear, np.ndarray) else linear)
        self._optimiser.reset()
        self._velocity.fill(0.0)
        if self._constant.size:
            terms = np.broadcast_to(np.asarray(linear, self.weights.dtype), self.weights.shape)
            flat = terms[:, :size] - self.weights.dtype.type(self._plan.proximal_mu) * anchors[:, :size]
            np.copyto(self._constant, flat.reshape(self._constant.shape))

    def walk(
        self,
        shards: Shards,
        schedule: Schedule,
        first: int,
        rates: Sequence[float],
        rng: np.random.Generator,
        values: Array,
    ) -> None:
        """See `Walker`; at most `stride` steps."""
        rows = schedule.rows(first, first + len(rates))
        gains = [self._optimiser.gain(rate) for rate in rates]
        of_weights, of_velocity = factors(self._plan, rates)
        for gain, gradient in zip(gains, range(FIRST_GRADIENT, FIRST_GRADIENT + len(rates)), strict=True):
            of_weights[:, gradient] /= gain  # the deltas are multiplied by it
            of_velocity[gradient] /= gain
        x, products, deltas = self._views(shards.x, rows)
        self._start_products(x, products, of_weights)
        gram = self._gram(x, of_weights) if len(rates) > 1 else x[:, :0]
        targets = shards.targets.take(rows, axis=0)
        out = self._network.first_products(self._batch)
        for step, rate in enumerate(rates):
            begin, end = step * self._batch, (step + 1) * self._batch
            if step:
                np.matmul(gram[:, begin:end, :begin], deltas[:, :begin], out=out)
                np.add(out, products[:, begin:end], out=out)
            else:
                np.copyto(out, products[:, :end])
            share = schedule.share(first + step, rows[step]) * gains[step]
            self._loss(self._network.forward_from_first(self._batch, rng), targets[step], share, values[step])
            deltas[:, begin:end] = self._network.backward_to_first(self._batch)
            self._penalties.add_to(self._later_gradient, self._later, gains[step])
            self._optimiser.update(self._later, self._later_gradient, rate)
        self._change_first(x, deltas, of_weights[-1], of_velocity)

    def _views(self, pool: Array, rows: Positions) -> tuple[Array, Array, Array]:
        """The inputs of these rows (steps, g, batch), and the beginnings of two buffers, each (g, steps·batch, …)."""
        steps, clients, batch = rows.shape
        wanted = clients, steps * batch
        x, products, deltas = (
            buffer[: steps * batch * clients * width].reshape(*wanted, width)
            for buffer, width in (
                (self._x, pool.shape[1]),
                (self._products, self._first.shape[2]),
                (self._deltas, self._first.shape[2]),
            )
        )
        # mode="clip": the default copies through a buffer; our rows are in range anyway
        pool.take(rows.transpose(1, 0, 2).reshape(wanted), axis=0, out=x, mode="clip")
        return x, products, deltas

    def _start_products(self, x: Array, products: Array, of_weights: NDArray[np.float64]) -> None:
        """What the steps would find but for each other's gradients."""
        if self._is_common:  # the first block of a round that all start from one model
            np.matmul(x.reshape(-1, x.shape[2]), self._first[0, :-1], out=products.reshape(-1, products.shape[2]))
        else:
            np.matmul(x, self._first[:, :-1], out=products)
        np.add(products, self._first[:, -1:], out=products)
        by_step = np.repeat(of_weights[:-1].astype(x.dtype), self._batch, axis=0)
        if (by_step[:, START] != 1.0).any():
            np.multiply(products, by_step[:, START, None], out=products)
        for matrix, column in ((self._velocity, VELOCITY), (self._constant, CONSTANT)):
            if matrix.size and by_step[:, column].any():
                more = np.matmul(x, matrix[:, :-1])
                np.add(more, matrix[:, -1:], out=more)
                np.multiply(more, by_step[:, column, None], out=more)
                np.add(products, more, out=products)

    def _gram(self, x: Array, of_weights: NDArray[np.float64]) -> Array:
        """(g, rows, rows): k_st·(x_s·x_tᵀ + 1)."""
        gram: Array = np.matmul(x, x.transpose(0, 2, 1))
        np.add(gram, 1.0, out=gram)
        factor = of_weights[:-1, FIRST_GRADIENT:].astype(x.dtype)
        np.multiply(gram, factor.repeat(self._batch, axis=0).repeat(self._batch, axis=1), out=gram)
        return gram

    def _change_first(
        self, x: Array, deltas: Array, of_weights: NDArray[np.float64], of_velocity: NDArray[np.float64]
    ) -> None:
        """The first layer's weights, and their velocity, after the block."""
        velocity = None
        if self._velocity.size:
            velocity = self._combined(of_velocity, self._velocity, VELOCITY, self._first, START)
            self._add_gradients(velocity, x, deltas, of_velocity)
        if of_weights[START] != 1.0 or self._velocity.size or self._constant.size:
            self._first[:] = self._combined(of_weights, self._first, START, self._velocity, VELOCITY)
        self._add_gradients(self._first, x, deltas, of_weights)
        if velocity is not None:
            self._velocity[:] = velocity
        self._is_common = False

    def _combined(self, by: NDArray[np.float64], one: Array, its: int, other: Array, others: int) -> Array:
        """Of two of weights, velocity and constant term, with the factors of each."""
        total: Array = one * one.dtype.type(by[its])
        if other.size and by[others]:
            total += other * other.dtype.type(by[others])
        if self._constant.size:
            total += self._constant * self._constant.dtype.type(by[CONSTANT])
        return total

    def _add_gradients(self, total: Array, x: Array, deltas: Array, by: NDArray[np.float64]) -> None:
        """total += Σ k_t·X_tᵀ·D_t."""
        factor = by[FIRST_GRADIENT:].astype(x.dtype).repeat(self._batch)[:, None]
        scaled = deltas * factor
        np.matmul(x.transpose(0, 2, 1), scaled, out=self._change)
        np.add(total[:, :-1], self._change, out=total[:, :-1])
        total[:, -1] += scaled.sum(axis=1)
