"""One client's step as far as the gradient: forward, loss, backward."""

import math

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Array
from simulation.cohort.compiled.losses import lose
from simulation.cohort.compiled.machine import at, compiled
from simulation.cohort.compiled.padded import (
    DEEP,
    DELTA_AT,
    FAN_IN,
    FAN_OUT,
    INPUT_AT,
    INPUT_ROW,
    WEIGHTS_AT,
    WIDE,
)
from simulation.cohort.compiled.products import add_rows, add_update, forward, pull_back
from simulation.cohort.compiled.records import Recipe, Shape, State, Work
from simulation.cohort.compiled.sparse import Pool, turn
from simulation.cohort.compiled.update import shrink


@compiled
def forward_pass(
    shape: Shape, recipe: Recipe, pool: Pool, rows: NDArray[np.intp], mask: Array, weights: Array, work: Work
) -> None:
    last = len(shape.layers) - 1
    for number in range(last + 1):
        layer = shape.layers[number]
        fan_in, wide, w_at = layer[FAN_IN], layer[WIDE], layer[WEIGHTS_AT]
        if number == last:
            out, out_at, out_row = work.deltas, layer[DELTA_AT], wide
        else:
            out, out_at, out_row = work.inputs, shape.layers[number + 1, INPUT_AT], shape.layers[number + 1, INPUT_ROW]
        if number == 0 and len(pool.values):
            for i in range(len(rows)):
                begin, end, c = pool.starts[rows[i]], pool.starts[rows[i] + 1], out_at + i * out_row
                _copy(weights, w_at + fan_in * wide, out, c, wide)
                add_rows(pool.values, pool.places, begin, end, weights, w_at, wide, out, c, shape.lanes)
        else:
            if number == 0:
                _gather(pool.x, rows, layer[INPUT_ROW], work.inputs)
            x_at, x_row = layer[INPUT_AT], layer[INPUT_ROW]
            forward(
                work.inputs, x_at, x_row, fan_in + 1, weights, w_at, wide, out, out_at, out_row, shape.rows,
                shape.tile, shape.lanes,
            )  # fmt: skip
        if number < last:
            for i in range(len(rows)):
                _activate(recipe.is_relu, mask, out, out_at + i * out_row, layer[FAN_OUT])
                out[out_at + i * out_row + layer[FAN_OUT]] = 1.0


@compiled
def _gather(x: Array, rows: NDArray[np.intp], apart: int, inputs: Array) -> None:
    """The first layer's inputs."""
    width = at(x.shape[1])
    for i in range(len(rows)):
        row, to = at(rows[i]), at(i * apart)
        for p in range(width):
            inputs[to + p] = x[row, p]
        inputs[to + width] = 1.0


@compiled
def _copy(source: Array, begin: int, target: Array, to: int, count: int) -> None:
    of, start = at(begin), at(to)
    for j in range(at(count)):
        target[start + j] = source[of + j]


@compiled
def _activate(is_relu: bool, mask: Array, values: Array, begin: int, width: int) -> None:
    none = values.dtype.type(0.0)
    if is_relu:
        for j in range(at(begin), at(begin + width)):
            values[j] = none if values[j] < none else values[j]  # NaN stays
    else:
        for j in range(at(begin), at(begin + width)):
            values[j] = math.tanh(values[j])
    if len(mask):
        for j in range(at(begin), at(begin + width)):
            values[j] *= mask[j]


@compiled
def lose_all(
    shape: Shape,
    recipe: Recipe,
    targets: Array,
    rows: NDArray[np.intp],
    shares: Array,
    factor: float,
    work: Work,
    losses: Array,
) -> None:
    layer = shape.layers[-1]
    for i in range(len(rows)):
        z_at = layer[DELTA_AT] + i * layer[WIDE]
        losses[i] = lose(recipe.loss, recipe.huber_delta, work.deltas, z_at, targets, rows[i], factor * shares[i])


@compiled
def backward_pass(
    shape: Shape,
    recipe: Recipe,
    pool: Pool,
    rows: NDArray[np.intp],
    mask: Array,
    rate: float,
    state: State,
    client: int,
    target: Array,
    work: Work,
) -> None:
    """Add what the deltas make of it to `target`."""
    weights = state.weights[client]
    for number in range(len(shape.layers) - 1, -1, -1):
        layer = shape.layers[number]
        wide, w_at = layer[WIDE], layer[WEIGHTS_AT]
        if number:
            _pull_back(shape, recipe, mask, number, len(rows), weights, work)
        if recipe.is_direct:
            end = w_at + layer[DEEP] * wide
            shrink(weights[w_at:end], rate, recipe.pull, state.constant[client : client + 1, w_at:end])
        if number == 0 and len(pool.values):
            _add_sparse(shape, pool, rows, target, work)
        else:
            x_at, x_row, d_at = layer[INPUT_AT], layer[INPUT_ROW], layer[DELTA_AT]
            add_update(
                work.inputs, x_at, x_row, work.deltas, d_at, wide, target, w_at, layer[DEEP], len(rows), shape.lanes
            )


@compiled
def _pull_back(shape: Shape, recipe: Recipe, mask: Array, number: int, count: int, weights: Array, work: Work) -> None:
    """The deltas of the layer before this one; slopes as in `Network`, of a = m·f(z) with the mask m."""
    layer, before = shape.layers[number], shape.layers[number - 1]
    wide, columns = layer[WIDE], at(shape.columns)
    for i in range(at(count)):
        of = at(layer[DELTA_AT]) + i * at(wide)
        for j in range(at(layer[FAN_OUT])):
            work.turned[j * columns + i] = work.deltas[of + j]
    pull_back(
        weights, layer[WEIGHTS_AT], layer[DEEP], wide, work.turned, shape.columns, layer[FAN_OUT], work.pulled,
        shape.lanes,
    )  # fmt: skip
    one, none = weights.dtype.type(1.0), weights.dtype.type(0.0)
    for i in range(at(count)):
        x_at, to = at(layer[INPUT_AT]) + i * at(layer[INPUT_ROW]), at(before[DELTA_AT]) + i * at(before[WIDE])
        for p in range(at(layer[FAN_IN])):
            a = work.inputs[x_at + p]
            if recipe.is_relu:
                slope = one / recipe.keep if a > none else none
            else:
                slope = (mask[x_at + p] if len(mask) else one) - recipe.keep * a * a
            work.deltas[to + p] = slope * work.pulled[p * columns + i]


@compiled
def _add_sparse(shape: Shape, pool: Pool, rows: NDArray[np.intp], target: Array, work: Work) -> None:
    """The first layer's product."""
    layer = shape.layers[0]
    fan_in, wide = layer[FAN_IN], layer[WIDE]
    turn(pool, rows, fan_in, work.starts, work.places, work.values)
    for p in range(fan_in):
        begin, end = work.starts[p], work.starts[p + 1]
        add_rows(work.values, work.places, begin, end, work.deltas, 0, wide, target, p * wide, shape.lanes)
    for i in range(len(rows)):
        of, to = at(i * wide), at(fan_in * wide)
        for j in range(at(wide)):
            target[to + j] += work.deltas[of + j]
