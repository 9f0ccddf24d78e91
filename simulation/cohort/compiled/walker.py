"""A group's steps by the compiled function; see `Walker`."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from fedloom.learning.layout import Array
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from simulation.cohort.compiled.losses import NUMBER_OF
from simulation.cohort.compiled.machine import read_only
from simulation.cohort.compiled.padded import Padded, read
from simulation.cohort.compiled.records import ADAM, MOMENTUM, NESTEROV, SGD, Recipe, Shape, State, Work
from simulation.cohort.compiled.sparse import Pool
from simulation.cohort.compiled.training import train
from simulation.cohort.schedule import Schedule
from simulation.cohort.shards import Converted, Shards
from simulation.cohort.steps import Rows

_AT_ONCE, _FLOP_AT_ONCE = 1 << 22, 1e10
"""Rows, or numbers of dropout's masks, of the steps that are taken in one call, for whose end Ctrl-C waits."""
_OPTIMISERS = {"sgd": SGD, "momentum": MOMENTUM, "nesterov": NESTEROV, "adam": ADAM}


class Compiled:
    """Any plan."""

    def __init__(
        self, spec: ModelSpec, plan: TrainPlan, clients: int, batch: int, dtype: DTypeLike, pools: Converted[Pool]
    ) -> None:
        padded = Padded(spec, batch, dtype)
        numbers, flop = padded.inputs if spec.dropout else batch, 6.0 * padded.weights * batch
        self.stride = max(1, int(min(_AT_ONCE / (clients * numbers), _FLOP_AT_ONCE / (clients * flop))))
        self._plan, self._padded, self._pools = plan, padded, pools
        self._dropout, self._group = spec.dropout, (clients, batch)
        is_direct = plan.optimiser == "sgd" and not plan.clip_norm and not plan.l1
        self._recipe = _recipe(spec, plan, padded.dtype.type, is_direct)
        self._shape = Shape(padded.layers, padded.rows, padded.tile, padded.columns, padded.lanes)
        has_constant = bool(plan.proximal_mu) or plan.correction != "none"
        self._state = State(
            weights=padded.zeros(clients, padded.weights),
            constant=padded.zeros(clients if has_constant else 0, padded.weights),
            first=padded.zeros(clients if plan.optimiser != "sgd" else 0, padded.weights),
            second=padded.zeros(clients if plan.optimiser == "adam" else 0, padded.weights),
        )
        widest = max(*spec.widths[1:], padded.layers[1:, 1].max(initial=0))
        self._work = Work(
            gradient=padded.zeros(0 if is_direct else padded.weights),
            inputs=padded.zeros(padded.inputs),
            deltas=padded.zeros(padded.deltas),
            turned=padded.zeros(widest * padded.columns),
            pulled=padded.zeros(widest * padded.columns),
            starts=np.zeros(spec.inputs + 1, np.intp),
            places=np.zeros(spec.inputs * batch, np.uint32),
            values=padded.zeros(spec.inputs * batch),
        )

    def start(self, weights: Array, linear: Array | float, anchor: Array | None) -> None:
        """See `Walker`."""
        state, plan = self._state, self._plan
        self._padded.fill(state.weights, weights)
        state.first.fill(0.0)
        state.second.fill(0.0)
        if len(state.constant):
            centre = plan.proximal_mu * (weights if anchor is None else anchor)
            self._padded.fill(state.constant, (linear - centre).astype(self._padded.dtype, copy=False))

    def walk(
        self,
        shards: Shards,
        schedule: Schedule,
        first: int,
        rates: Sequence[float],
        rng: np.random.Generator,
        values: Array,
    ) -> None:
        """See `Walker`."""
        rows = np.ascontiguousarray(schedule.rows(first, first + len(rates)))
        shares = np.empty(rows.shape, self._padded.dtype)
        for step, own in enumerate(rows):
            share = schedule.share(first + step, own)
            shares[step] = share if isinstance(share, float) else share[..., 0]
        train(
            self._shape,
            self._recipe,
            self._pools.of(shards),
            read_only(shards.targets),
            rows,
            shares,
            self._masks(len(rates), rng),
            np.array(rates, self._padded.dtype),
            first,
            self._state,
            self._work,
            values,
        )

    def _masks(self, steps: int, rng: np.random.Generator) -> Array:
        """As `train` takes them; drawn as `Network` does, with one more column, which nobody looks at."""
        padded, dropout, (clients, batch) = self._padded, self._dropout, self._group
        masks: Array = np.empty((steps, clients, padded.inputs if dropout else 0), padded.dtype)
        if not dropout:
            return masks
        number = cast("type[np.float32]", padded.dtype.type)
        for mask in masks:
            for fan_in, *_, at, row, _ in padded.layers[1:].tolist():
                drawn = np.floor(rng.random((clients, batch, fan_in + 1), number) + (1.0 - dropout))
                own = mask[:, at : at + padded.rows * row].reshape(clients, padded.rows, row)
                own[:, :batch, : fan_in + 1] = drawn * (1.0 / (1.0 - dropout))
        return masks

    def read(self, which: Rows, start: Array, out: Array, rows: Rows) -> None:
        """See `Walker`."""
        clients = np.arange(len(self._state.weights))[which]
        read(self._shape.layers, self._state.weights, clients, np.atleast_2d(start), out, np.arange(len(out))[rows])


def _recipe(spec: ModelSpec, plan: TrainPlan, number: Callable[[float], Any], is_direct: bool) -> Recipe:
    return Recipe(
        loss=NUMBER_OF[plan.loss],
        huber_delta=number(plan.huber_delta),
        is_relu=spec.activation == "relu",
        keep=number(1.0 - spec.dropout),
        optimiser=_OPTIMISERS[plan.optimiser],
        momentum=number(plan.momentum),
        beta1=plan.beta1,
        beta2=plan.beta2,
        epsilon=number(plan.epsilon),
        pull=number(plan.l2 + plan.proximal_mu),
        l1=number(plan.l1),
        clip_norm=number(plan.clip_norm or 0.0),
        is_direct=is_direct,
    )
