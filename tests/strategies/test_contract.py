"""What every strategy promises, checked for each by name; a new one is in here as soon as it is in the registry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from fedloom.errors import ConfigError
from fedloom.job import StrategyChoice
from fedloom.learning.plan import TrainPlan
from strategies import ClientUpdate, FusionError, UpdatesInMemory, create
from strategies.base import State

ALL = strategies.names()
PLAN = TrainPlan(loss="mse")


@pytest.fixture(params=ALL)
def strategy(request):
    return create(StrategyChoice(request.param), "job.toml")


class Reused(UpdatesInMemory):
    """Hands out one buffer for all deltas, as the spool does."""

    def __iter__(self):
        for block in self.blocks(1):
            yield from block.updates


def updates(seed, count, size=17):
    rng = np.random.default_rng(seed)
    deltas = rng.normal(size=(count, size)).astype(np.float32)
    return [ClientUpdate(bytes([i]) * 16, int(rng.integers(1, 1000)), deltas[i]) for i in range(count)]


def fuse(strategy, weights, given):
    return strategy.fuse(weights, Reused(given), strategy.initial_state(weights.size))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 9), data=st.data())
@pytest.mark.parametrize("name", ALL)
def test_the_order_of_arrival_does_not_change_a_bit(name, seed, count, data):
    strategy = create(StrategyChoice(name), "job.toml")
    given = updates(seed, count)
    weights = np.random.default_rng(seed).normal(size=17).astype(np.float32)
    shuffled = data.draw(st.permutations(given))
    assert fuse(strategy, weights, given).weights.tobytes() == fuse(strategy, weights, shuffled).weights.tobytes()


def test_only_the_ratio_of_samples_matters(strategy):
    given = updates(1, 5)
    weights = np.ones(17, np.float32)
    scaled = [update._replace(samples=update.samples * 7) for update in given]
    np.testing.assert_allclose(
        fuse(strategy, weights, given).weights, fuse(strategy, weights, scaled).weights, rtol=1e-6
    )


def test_inputs_are_not_touched(strategy):
    given = updates(2, 4)
    weights = np.ones(17, np.float32)
    before = [update.delta.copy() for update in given]
    fused = fuse(strategy, weights, given).weights
    assert all((update.delta == copy).all() for update, copy in zip(given, before, strict=True))
    assert (weights == 1.0).all()
    assert not np.shares_memory(fused, weights)


def test_one_client_gives_its_own_model(strategy):
    given = updates(3, 1)
    weights = np.random.default_rng(3).normal(size=17).astype(np.float32)
    np.testing.assert_allclose(fuse(strategy, weights, given).weights, weights + given[0].delta, rtol=1e-6)


def test_the_dtype_stays(strategy):
    fused = fuse(strategy, np.ones(17, np.float32), updates(4, 3))
    assert fused.weights.dtype == np.float32
    assert fused.weights.shape == (17,)


def test_nothing_to_fuse_is_an_error(strategy):
    with pytest.raises(FusionError):
        fuse(strategy, np.ones(17, np.float32), [])
    with pytest.raises(FusionError):
        fuse(strategy, np.ones(17, np.float32), [u._replace(samples=0) for u in updates(5, 3)])


def test_a_plan_is_made_and_the_state_survives(strategy):
    state = strategy.initial_state(17)
    assert isinstance(state, State)
    assert strategy.plan(1, PLAN, state).loss == "mse"
    assert isinstance(fuse(strategy, np.ones(17, np.float32), updates(6, 2)).state, State)


def test_a_misspelt_strategy_or_option_is_explained():
    with pytest.raises(ConfigError, match="did you mean 'fedavg'"):
        create(StrategyChoice("fedavgg"), "job.toml")
    with pytest.raises(ConfigError, match="momentun"):
        create(StrategyChoice("fedavg", {"momentun": 1.0}), "job.toml")
