"""Adaptive server optimisers, by hand; and where gradients differ in scale."""

import math

import numpy as np
import pytest

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import FusionError, UpdatesInMemory, create
from strategies.base import State
from strategies.moments import Moments, moments, read

BY_HAND = {"server_learning_rate": 1.0, "beta1": 0.5, "beta2": 0.75}


def test_adagrad_adds_squares_up(fuse_rounds, update):
    # v = 3² + 4² = 25; 4 / (5 + 3) = ½. Then v = 25 + 11² + … : 25 + 144 = 169; 12 / (13 + 3) = ¾
    rounds = [[update(1, [4.0])], [update(1, [12.0])]]
    assert fuse_rounds("fedadagrad", rounds, server_learning_rate=1.0, tau=3.0) == [[0.5], [1.25]]


def test_adam_forgets(fuse_rounds, update):
    # m = ½, v = ¾·1 + ¼·1 = 1; ½ / (1 + 1) = ¼. Then m = ¼ + 3/2 = 7/4, v = ¾ + 9/4 = 3
    first, second = fuse_rounds("fedadam", [[update(1, [1.0])], [update(1, [3.0])]], tau=1.0, **BY_HAND)
    assert first == [0.25]
    assert second == pytest.approx([0.25 + 1.75 / (math.sqrt(3.0) + 1.0)], rel=1e-6)


def test_yogi_is_additive_in_both_directions(fuse_rounds, update):
    # Up: v = 1½² + ¼·4² = 2½²; m = 2; 2 / (2½ + 1½) = ½
    assert fuse_rounds("fedyogi", [[update(1, [4.0])]], tau=1.5, **BY_HAND) == [[0.5]]
    # Down: v = 4 − ¼·1, where Adam's would be 3 + ¼
    (found,) = fuse_rounds("fedyogi", [[update(1, [1.0])]], tau=2.0, **BY_HAND)
    assert found == pytest.approx([0.5 / (math.sqrt(3.75) + 2.0)], rel=1e-6)
    # v = Δ² stays as it is
    assert fuse_rounds("fedyogi", [[update(1, [1.0])]], tau=1.0, **BY_HAND) == [[0.25]]


def test_the_rule_and_the_server_are_chosen_apart(fuse_rounds, update):
    rounds = [[update(1, [1.0, 0.0], 10), update(2, [-1.0, 4.0], 30)]] * 2
    assert fuse_rounds("fedavg", rounds, server="adam") == fuse_rounds("fedadam", rounds)


@pytest.mark.parametrize("name", ["fedadagrad", "fedadam", "fedyogi"])
def test_weights_of_every_scale_are_learned_alike(federation, name):
    curvature = (1.0, 1e-2, 1e-3)
    devices = [((1.0, 1.0, 1.0), curvature), ((1.0, 1.0, 1.0), curvature)]
    assert federation(devices, 200, "fedavg", rate=0.5)[2] < 0.1
    learned = federation(devices, 200, name, rate=0.5, server_learning_rate=0.1, tau=1e-4)
    np.testing.assert_allclose(learned, 1.0, atol=0.15)


def test_moments_are_float32_and_begin_as_in_the_paper():
    state = create(StrategyChoice("fedadam", {"tau": 0.5}), "job.toml").initial_state(3)
    assert isinstance(state, Moments)
    assert len(state.first) == len(state.second) == 12
    assert read(state.first).tolist() == [0.0] * 3
    assert read(state.second).tolist() == [0.25] * 3


def test_a_moment_beyond_float32_is_refused(update):
    strategy = create(StrategyChoice("fedadam"), "job.toml")
    huge = UpdatesInMemory([update(1, [1e30])])
    with (
        pytest.raises(FusionError, match="what the server optimiser remembers is not finite"),
        np.errstate(over="ignore"),
    ):
        strategy.fuse(np.zeros(1, np.float32), huge, strategy.initial_state(1))


def test_the_state_of_another_rule_is_not_taken_for_its_own():
    with pytest.raises(TypeError, match="the state is a State, not Moments"):
        moments(State())


@pytest.mark.parametrize(
    "options", [{"tau": 0.0}, {"beta1": 1.0}, {"beta2": -0.1}, {"server_learning_rate": 0.0}, {"beta2": 1.0}]
)
def test_impossible_options_are_refused(options):
    (name,) = options
    with pytest.raises(ConfigError, match=rf"strategy\.options\.{name}: {options[name]}: expected `float`"):
        create(StrategyChoice("fedyogi", options), "job.toml")


def test_adagrad_has_no_second_decay():
    with pytest.raises(ConfigError, match="beta2: is not an option"):
        create(StrategyChoice("fedadagrad", {"beta2": 0.9}), "job.toml")
