"""A federation of quadratics: device k has the loss F_k(w) = ½·Σ c_k·(w − o_k)², and trains by plain gradient steps."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from fedloom.job.choices import StrategyChoice
from strategies import ClientUpdate, UpdatesInMemory, create


class Device(NamedTuple):
    optimum: Sequence[float]
    curvature: Sequence[float]
    steps: int = 1
    samples: int = 10

    def loss(self, weights):
        return float(0.5 * np.sum(np.multiply(self.curvature, (weights - self.optimum) ** 2)))

    def update(self, number, weights, rate):
        local = weights.astype(np.float64)
        for _ in range(self.steps):
            local -= rate * np.multiply(self.curvature, local - self.optimum)
        delta = (local - weights).astype(np.float32)
        return ClientUpdate(bytes([number]) * 16, self.samples, delta, steps=self.steps, loss=self.loss(weights))


def learn(devices, rounds, choice, rate):
    strategy = create(choice, "job.toml")
    weights = np.zeros(len(devices[0].optimum), np.float32)
    state = strategy.initial_state(weights.size)
    for _ in range(rounds):
        sent = [device.update(number, weights, rate) for number, device in enumerate(devices)]
        weights, state = strategy.fuse(weights, UpdatesInMemory(sent), state)
    return weights


@pytest.fixture
def federation() -> Callable[..., np.ndarray]:
    """`federation(devices, rounds, name, rate=…, **options)`: the weights that a rule ends with, from zero."""

    def run(devices, rounds, name, rate=0.1, server="", **options):
        return learn([Device(*each) for each in devices], rounds, StrategyChoice(name, options, server), rate)

    return run


@pytest.fixture
def fuse_rounds() -> Callable[..., list[list[float]]]:
    """`fuse_rounds(name, rounds, **options)`: the weights after each round of updates, from zero, as floats."""

    def run(name, rounds, server="", **options):
        strategy = create(StrategyChoice(name, options, server), "job.toml")
        size = len(rounds[0][0].delta)
        weights, state = np.zeros(size, np.float32), strategy.initial_state(size)
        found = []
        for updates in rounds:
            weights, state = strategy.fuse(weights, UpdatesInMemory(updates), state)
            found.append(weights.tolist())
        return found

    return run


@pytest.fixture
def update() -> Callable[..., ClientUpdate]:
    """`update(number, delta, samples=1, …)`."""

    def make(number, delta, samples=1, **told):
        return ClientUpdate(bytes([number]) * 16, samples, np.array(delta, np.float32), **told)

    return make
