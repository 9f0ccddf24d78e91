"""Penalties, clipping and optimisers for one client's weights, by the conventions of `fedloom.learning`."""

import math

import numpy as np

from fedloom.learning.layout import Array
from simulation.cohort.compiled.machine import compiled
from simulation.cohort.compiled.records import ADAM, NESTEROV, SGD, Recipe, State


@compiled
def shrink(weights: Array, rate: float, pull: float, constant: Array) -> None:
    """What penalties do to the weights in a step of plain SGD; `constant` is (1, …) or (0, …)."""
    keep = 1.0 - rate * pull
    if len(constant):
        for q in range(len(weights)):
            weights[q] = keep * weights[q] - rate * constant[0, q]
    elif pull:
        for q in range(len(weights)):
            weights[q] *= keep


@compiled
def update(recipe: Recipe, rate: float, number: int, state: State, client: int, gradient: Array) -> None:
    """Penalties, clipping and the optimiser; `number` is 1 in the first step, `gradient` is used up."""
    weights = state.weights[client]
    _penalise(recipe, state, client, gradient)
    if recipe.clip_norm:
        _clip(gradient, recipe.clip_norm)
    if recipe.optimiser == SGD:
        for q in range(len(weights)):
            weights[q] -= rate * gradient[q]
    elif recipe.optimiser == ADAM:
        _adam(recipe, rate, number, weights, state.first[client], state.second[client], gradient)
    else:
        velocity = state.first[client]
        for q in range(len(weights)):
            velocity[q] = recipe.momentum * velocity[q] + gradient[q]
            change = velocity[q]
            if recipe.optimiser == NESTEROV:
                change = gradient[q] + recipe.momentum * velocity[q]
            weights[q] -= rate * change


@compiled
def _penalise(recipe: Recipe, state: State, client: int, gradient: Array) -> None:
    weights = state.weights[client]
    if recipe.pull:
        for q in range(len(weights)):
            gradient[q] += recipe.pull * weights[q]
    if recipe.l1:
        for q in range(len(weights)):
            gradient[q] += recipe.l1 * np.sign(weights[q])
    if len(state.constant):
        for q in range(len(weights)):
            gradient[q] += state.constant[client, q]


@compiled
def _clip(gradient: Array, limit: float) -> None:
    total = gradient.dtype.type(0.0)
    for q in range(len(gradient)):
        total += gradient[q] * gradient[q]
    norm = math.sqrt(total)
    if norm > limit:
        factor = gradient.dtype.type(limit / norm)
        for q in range(len(gradient)):
            gradient[q] *= factor


@compiled
def _adam(
    recipe: Recipe, rate: float, number: int, weights: Array, mean: Array, square: Array, gradient: Array
) -> None:
    number_of = weights.dtype.type
    of_mean, of_square = number_of(1.0 - recipe.beta1), number_of(1.0 - recipe.beta2)
    beta2 = number_of(recipe.beta2)
    step = number_of(rate / (1.0 - recipe.beta1**number))
    unbiased = number_of(1.0 / math.sqrt(1.0 - recipe.beta2**number))
    epsilon = number_of(recipe.epsilon)
    for q in range(len(weights)):
        mean[q] += of_mean * (gradient[q] - mean[q])
        square[q] = beta2 * square[q] + of_square * gradient[q] * gradient[q]
        weights[q] -= step * mean[q] / (math.sqrt(square[q]) * unbiased + epsilon)
