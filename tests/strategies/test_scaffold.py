"""SCAFFOLD's server by hand; what it asks of the devices, and what it refuses."""

import numpy as np
import pytest

from fedloom import msgpack
from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from fedloom.learning.plan import TrainPlan
from strategies import ClientUpdate, FusionError, PlanError, UpdatesInMemory, create

UPDATES = [
    ClientUpdate(b"a" * 16, 10, np.array([1.0, 0.0], np.float32), control=np.array([4.0, 0.0], np.float32)),
    ClientUpdate(b"b" * 16, 30, np.array([-2.0, 4.0], np.float32), control=np.array([2.0, -8.0], np.float32)),
]
WEIGHTS = np.array([1.0, 2.0], np.float32)


def make(**options):
    return create(StrategyChoice("scaffold", options), "job.toml")


def fuse(rule, state, given=UPDATES):
    return rule.fuse(WEIGHTS, UpdatesInMemory(given), state)


def test_every_device_weighs_the_same_and_the_variate_is_the_mean_over_all_devices():
    rule = make(devices=4)
    fused = fuse(rule, rule.initial_state(2))
    np.testing.assert_array_equal(fused.weights, np.array([0.5, 4.0], np.float32))  # 1 + (1 − 2)/2, 2 + (0 + 4)/2
    np.testing.assert_array_equal(rule.broadcast(fused.state), np.array([1.5, -2.0], np.float32))  # (4 + 2)/4, −8/4
    again = fuse(rule, fused.state)
    np.testing.assert_array_equal(rule.broadcast(again.state), np.array([3.0, -4.0], np.float32))


def test_without_a_number_of_devices_those_that_have_taken_part_are_all():
    rule = make()
    first = fuse(rule, rule.initial_state(2), UPDATES[:1]).state
    np.testing.assert_array_equal(rule.broadcast(first), np.array([4.0, 0.0], np.float32))
    both = fuse(rule, first, UPDATES[1:]).state
    np.testing.assert_array_equal(rule.broadcast(both), np.array([3.0, -4.0], np.float32))
    np.testing.assert_array_equal(make(devices=1).broadcast(both), np.array([3.0, -4.0], np.float32))


def test_the_servers_learning_rate_is_for_the_weights_alone():
    rule = make(server_learning_rate=2.0, devices=2)
    fused = fuse(rule, rule.initial_state(2))
    np.testing.assert_array_equal(fused.weights, np.array([0.0, 6.0], np.float32))
    np.testing.assert_array_equal(rule.broadcast(fused.state), np.array([3.0, -4.0], np.float32))


def test_the_state_survives_its_file():
    rule = make()
    state = fuse(rule, rule.initial_state(2)).state
    assert msgpack.decode(msgpack.encode(state), type(state)) == state


def test_updates_without_variates_are_not_fused():
    rule = make()
    with pytest.raises(FusionError, match="no control variate"):
        fuse(rule, rule.initial_state(2), [UPDATES[0]._replace(control=None)])


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"optimiser": "adam"}, "optimiser"), ({"clip_norm": 1.0}, "clip_norm"), ({"proximal_mu": 0.1}, "proximal_mu")],
)
def test_what_would_falsify_the_variates_is_refused(settings, key):
    rule = make()
    with pytest.raises(PlanError, match=rf"training\.{key}"):
        rule.plan(1, TrainPlan(loss="mse", **settings), rule.initial_state(2))
    assert rule.plan(1, TrainPlan(loss="mse"), rule.initial_state(2)).correction == "scaffold"


def test_it_is_for_synchronous_jobs():
    with pytest.raises(ConfigError, match=r"strategy\.name: 'scaffold' knows nothing of stale updates"):
        create(StrategyChoice("scaffold"), "job.toml", is_asynchronous=True)
