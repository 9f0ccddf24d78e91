"""Fleets of which everything is known, and a way to draw from them."""

from collections import Counter

import numpy as np
import pytest

from aggregator.records import Standing


@pytest.fixture
def pick():
    """`pick(rule, ready, count, …)`: the ids that one draw gives, as numbers."""

    def one(rule, ready, count, round_number=1, seed=0):
        positions = rule.pick(ready, count, round_number, np.random.default_rng(seed))
        return [ready[position].device[0] for position in positions]

    return one


@pytest.fixture
def often(pick):
    """How often each device is drawn, with so many seeds."""

    def count_all(rule, ready, count, draws=2000, round_number=1):
        return Counter(each for seed in range(draws) for each in pick(rule, ready, count, round_number, seed))

    return count_all


@pytest.fixture
def known():
    """`known(number, **what)`: a device that has trained in round 1."""

    def one(number, **what):
        return Standing(bytes([number]), **{"samples": 10, "loss": 1.0, "asked": 1, "answered": 1} | what)

    return one
