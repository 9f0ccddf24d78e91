"""Local training of some clients, one after the other, in one call."""

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Array
from simulation.cohort.compiled.machine import compiled
from simulation.cohort.compiled.passes import backward_pass, forward_pass, lose_all
from simulation.cohort.compiled.records import Recipe, Shape, State, Work
from simulation.cohort.compiled.sparse import Pool
from simulation.cohort.compiled.update import update


@compiled
def train(
    shape: Shape,
    recipe: Recipe,
    pool: Pool,
    targets: Array,
    rows: NDArray[np.intp],
    shares: Array,
    masks: Array,
    rates: Array,
    taken: int,
    state: State,
    work: Work,
    losses: Array,
) -> None:
    """Take a step for each of `rates` after the `taken` ones before, each client on `rows` of the pool (steps, g, b).

    `shares` (steps, g, b) is what each row counts in the gradient.
    `masks` (steps, g, …) lie like the inputs and say which units are kept, 0 or 1/keep; (steps, g, 0) without dropout.
    `losses` (steps, g, b) receives the losses before each step.
    """
    for client in range(rows.shape[1]):
        weights = state.weights[client]
        for step in range(rows.shape[0]):
            rate = rates[step]
            target, factor = (weights, -rate) if recipe.is_direct else (work.gradient, weights.dtype.type(1.0))
            if not recipe.is_direct:
                work.gradient[:] = 0.0
            own, mask = rows[step, client], masks[step, client]
            forward_pass(shape, recipe, pool, own, mask, weights, work)
            lose_all(shape, recipe, targets, own, shares[step, client], factor, work, losses[step, client])
            backward_pass(shape, recipe, pool, own, mask, rate, state, client, target, work)
            if not recipe.is_direct:
                update(recipe, rate, taken + step + 1, state, client, work.gradient)
