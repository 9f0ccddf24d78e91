"""Optimisers over flat (c, p) weights, in place; their state is allocated once. Conventions are PyTorch's.

- sgd: w ← w − η·g
- momentum: v ← μ·v + g; w ← w − η·v
- nesterov: v ← μ·v + g; w ← w − η·(g + μ·v) (Sutskever et al. 2013, as PyTorch rearranges it)
- adam: Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1
"""

import math
from typing import Protocol

import numpy as np

from fedloom.learning.layout import Array
from fedloom.learning.plan import TrainPlan


class Optimiser(Protocol):
    """Changes weights by a gradient."""

    def reset(self) -> None:
        """Forget the past: a new round starts."""

    def gain(self, rate: float) -> float:
        """The factor by which `update` wants the gradient multiplied already; saves SGD a pass over the vector."""

    def update(self, weights: Array, gradient: Array, rate: float) -> None:
        """Change `weights` in place; `gradient` is used up."""


def optimiser(plan: TrainPlan, weights: Array) -> Optimiser:
    """The one that a plan names, with state shaped like `weights` (c, p)."""
    match plan.optimiser:
        case "sgd":
            return Sgd()
        case "momentum":
            return Momentum(weights, plan.momentum)
        case "nesterov":
            return Momentum(weights, plan.momentum, nesterov=True)
        case "adam":
            return Adam(weights, plan.beta1, plan.beta2, plan.epsilon)


class Sgd:
    """Plain stochastic gradient descent; takes the gradient already multiplied by the learning rate."""

    def reset(self) -> None:
        """Nothing to forget."""

    def gain(self, rate: float) -> float:
        """η."""
        return rate

    def update(self, weights: Array, gradient: Array, rate: float) -> None:
        """w ← w − (η·g)."""
        np.subtract(weights, gradient, out=weights)


class Momentum:
    """Heavy-ball momentum, and Nesterov's variant."""

    def __init__(self, weights: Array, momentum: float, *, nesterov: bool = False) -> None:
        self._momentum = momentum
        self._nesterov = nesterov
        self._velocity = np.zeros_like(weights)

    def reset(self) -> None:
        """v ← 0."""
        self._velocity.fill(0.0)

    def gain(self, rate: float) -> float:
        """1: the velocity outlives a change of the learning rate."""
        return 1.0

    def update(self, weights: Array, gradient: Array, rate: float) -> None:
        """One step."""
        velocity = self._velocity
        np.multiply(velocity, self._momentum, out=velocity)
        np.add(velocity, gradient, out=velocity)
        if self._nesterov:
            np.multiply(gradient, rate, out=gradient)
            np.subtract(weights, gradient, out=weights)
            np.multiply(velocity, rate * self._momentum, out=gradient)
        else:
            np.multiply(velocity, rate, out=gradient)
        np.subtract(weights, gradient, out=weights)


class Adam:
    """Running means of the gradient and of its square, corrected for their start at zero."""

    def __init__(self, weights: Array, beta1: float, beta2: float, epsilon: float) -> None:
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._mean = np.zeros_like(weights)
        self._square = np.zeros_like(weights)
        self._scratch = np.zeros_like(weights)
        self._steps = 0

    def reset(self) -> None:
        """m, v, t ← 0."""
        self._mean.fill(0.0)
        self._square.fill(0.0)
        self._steps = 0

    def gain(self, rate: float) -> float:
        """1."""
        return 1.0

    def update(self, weights: Array, gradient: Array, rate: float) -> None:
        """One step: w ← w − η·m̂ / (√v̂ + ε)."""
        self._steps += 1
        mean, square, scratch = self._mean, self._square, self._scratch
        np.subtract(gradient, mean, out=scratch)
        np.multiply(scratch, 1.0 - self._beta1, out=scratch)
        np.add(mean, scratch, out=mean)
        np.multiply(gradient, gradient, out=gradient)
        np.multiply(gradient, 1.0 - self._beta2, out=gradient)
        np.multiply(square, self._beta2, out=square)
        np.add(square, gradient, out=square)
        np.sqrt(square, out=gradient)
        np.multiply(gradient, 1.0 / math.sqrt(1.0 - self._beta2**self._steps), out=gradient)
        np.add(gradient, self._epsilon, out=gradient)
        np.divide(mean, gradient, out=gradient)
        np.multiply(gradient, rate / (1.0 - self._beta1**self._steps), out=gradient)
        np.subtract(weights, gradient, out=weights)
