"""How far another build may come: any order of adding up stays within the bound, and no less would do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.bound import gap_in_places, last_places
from fedloom.job.choices import StrategyChoice
from fedloom.wire.messages import Phase
from strategies import ClientUpdate, UpdatesInMemory, create
from strategies.summing import BLOCK_ROWS


def another_build(weights, deltas, samples, rate, order):
    """FedAvg, each block added up one after the other in this order, in float32."""
    factors = (samples / samples.sum()).astype(np.float32)
    total = np.zeros(weights.size)
    for start in range(0, len(deltas), BLOCK_ROWS):
        product = np.zeros(weights.size, np.float32)
        for row in order[(start <= order) & (order < start + BLOCK_ROWS)]:
            product += factors[row] * deltas[row]
        total += product
    return (weights + rate * total).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 3 * BLOCK_ROWS),
    rate=st.sampled_from([0.5, 1.0, 4.0]),
    scale=st.sampled_from([1e-42, 1e-3, 1.0, 1e20]),
    is_cancelling=st.booleans(),
)
def test_any_order_is_within_the_bound(seed, count, rate, scale, is_cancelling):
    rng = np.random.default_rng(seed)
    deltas = (scale * rng.normal(size=(count, 40))).astype(np.float32)
    if is_cancelling:
        deltas[1::2] = -deltas[: len(deltas[1::2]) * 2 : 2]
    weights = (1e-3 * scale * rng.normal(size=40)).astype(np.float32)
    samples = rng.integers(1, 100, count)
    strategy = create(StrategyChoice("fedavg", {"server_learning_rate": rate}), "job.toml")
    updates = [
        ClientUpdate(bytes([i]) * 16, int(n), delta) for i, (n, delta) in enumerate(zip(samples, deltas, strict=True))
    ]
    one = strategy.fuse(weights, UpdatesInMemory(updates), strategy.initial_state(40)).weights
    other = another_build(weights, deltas, samples, rate, rng.permutation(count))
    assert gap_in_places(one, other, [weights, *deltas]).max() <= last_places(Phase.TRAIN, strategy)


def test_a_single_last_place_is_not_enough():
    """Large terms that cancel: what one order keeps, another rounds away."""
    deltas = np.array([[1.0], [2.0**-24], [2.0**-24], [2.0**-24], [2.0**-24], [-1.0]] * 2, np.float32)
    samples = np.ones(12)
    forth = another_build(np.zeros(1), deltas, samples, 12.0, np.arange(12))
    sorted_by_size = another_build(np.zeros(1), deltas, samples, 12.0, np.argsort(np.abs(deltas[:, 0]), kind="stable"))
    assert gap_in_places(forth, sorted_by_size, deltas).max() > 1.0


def test_a_gap_counts_in_places_of_the_largest_term():
    one, other = np.array([1.0, 1.0, 0.0], np.float32), np.array([1.0 + 2.0**-23, 1.0, 0.0], np.float32)
    assert gap_in_places(one, other, []).tolist() == [1.0, 0.0, 0.0]
    assert gap_in_places(one, other, [np.array([8.0], np.float32)]).tolist() == [0.125, 0.0, 0.0]


@pytest.mark.parametrize(
    ("choice", "places"),
    [
        (StrategyChoice("fedavg"), 2 * BLOCK_ROWS + 1),
        (StrategyChoice("fedbuff", {"server_learning_rate": 2.0}), 4 * BLOCK_ROWS + 1),
        (StrategyChoice("fedasync"), 2 * BLOCK_ROWS + 1),
        (StrategyChoice("fedadam"), None),
        (StrategyChoice("fedavg", server="momentum"), None),
        (StrategyChoice("fedexp"), None),
        (StrategyChoice("fednova"), None),
    ],
)
def test_the_bound_is_for_means_alone(choice, places):
    strategy = create(choice, "job.toml")
    assert last_places(Phase.TRAIN, strategy) == places
    assert last_places(Phase.STATISTICS, strategy) == 1
