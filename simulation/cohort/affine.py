"""What some steps of SGD with momentum and quadratic penalties make of the weights, as a sum with known factors.

A step's gradient is g = G + λ·w + C, with λ = l2 + μ and C = b − μ·w_global, constant in a round (penalties and what
they are: fedloom.learning.penalties). All that happens to the weights is linear in w₀, in the velocity v₀, in C and in
the steps' own gradients G₀, G₁…, whatever those will be. So after every step w = a·w₀ + b·v₀ + c·C + Σ k_t·G_t, and the
factors are found by taking the steps with factors in the place of vectors.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.plan import TrainPlan

START, VELOCITY, CONSTANT, FIRST_GRADIENT = range(4)
"""Columns of the factors."""


def is_affine(plan: TrainPlan) -> bool:
    """Whether the plan's steps are linear in what they begin with; clipping, L1 and Adam are not."""
    return plan.optimiser != "adam" and not plan.clip_norm and not plan.l1


def factors(plan: TrainPlan, rates: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the weights before each step and at the end, (steps + 1, 3 + steps), and of the last velocity, (3 + steps,).

    >>> weights, _ = factors(TrainPlan(loss="mse"), [0.5, 0.5])
    >>> weights[2].tolist()  # w₀ − C − ½·G₀ − ½·G₁
    [1.0, 0.0, -1.0, -0.5, -0.5]
    """
    basis = np.eye(FIRST_GRADIENT + len(rates))
    pull = plan.l2 + plan.proximal_mu
    weight, velocity = basis[START], basis[VELOCITY]
    weights = [weight]
    for step, rate in enumerate(rates):
        gradient = basis[FIRST_GRADIENT + step] + pull * weight + basis[CONSTANT]
        if plan.optimiser == "sgd":
            weight = weight - rate * gradient
        else:
            velocity = plan.momentum * velocity + gradient
            is_nesterov = plan.optimiser == "nesterov"
            weight = weight - rate * (gradient + plan.momentum * velocity if is_nesterov else velocity)
        weights.append(weight)
    return np.array(weights), velocity
