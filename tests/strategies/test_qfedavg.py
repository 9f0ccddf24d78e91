"""Fair averaging, by hand; and where one device is worse off than the others."""

import numpy as np
import pytest

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from fedloom.learning.plan import TrainPlan
from strategies import FusionError, PlanError, create


def test_a_device_that_does_worse_weighs_more(fuse_rounds, update):
    # L = 2: 1·1 − 3·1 = −2 above; h = 1 + 2·1 and 3 + 2·1 below
    given = [update(1, [1.0], 10, loss=1.0), update(2, [-1.0], 30, loss=3.0)]
    (found,) = fuse_rounds("qfedavg", [given], client_learning_rate=0.5)
    assert found == pytest.approx([-0.25], rel=1e-6)


def test_with_q_0_it_is_the_plain_mean(fuse_rounds, update):
    given = [update(1, [1.0], 10, loss=1.0), update(2, [-2.0], 30, loss=3.0)]
    assert fuse_rounds("qfedavg", [given], client_learning_rate=0.5, q=0.0) == [[-0.5]]


def test_large_losses_and_powers_do_not_overflow(fuse_rounds, update):
    given = [update(1, [1.0], loss=1e30), update(2, [-1.0], loss=1e20)]
    (found,) = fuse_rounds("qfedavg", [given], client_learning_rate=0.5, q=20.0)
    assert found == pytest.approx([1.0], rel=1e-6)


def test_a_loss_of_zero_is_no_reason_to_stop(fuse_rounds, update):
    (found,) = fuse_rounds(
        "qfedavg", [[update(1, [0.0], loss=0.0), update(2, [1.0], loss=1.0)]], client_learning_rate=1.0
    )
    assert found == pytest.approx([0.5], rel=1e-6)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -1.0])
def test_a_loss_that_is_missing_or_impossible_is_told(fuse_rounds, update, loss):
    given = [update(1, [1.0], loss=1.0), update(2, [1.0], loss=loss)]
    with pytest.raises(
        FusionError, match=r"qfedavg needs each device's loss .* 0202.* has sent .*; bring its software"
    ):
        fuse_rounds("qfedavg", [given], client_learning_rate=0.5)


def test_the_worst_device_gains(federation):
    devices = [((0.0,), (1.0,))] * 4 + [((4.0,), (1.0,))]

    def losses(*given, **options):
        return [0.5 * (optimum[0] - federation(devices, 300, *given, **options)[0]) ** 2 for optimum, _ in devices]

    plain, fair = losses("fedavg"), losses("qfedavg", client_learning_rate=0.1, q=4.0)
    assert max(fair) < 0.6 * max(plain)
    assert np.var(fair) < 0.2 * np.var(plain)


def test_devices_must_train_with_the_rate_that_it_is_told():
    strategy = create(StrategyChoice("qfedavg", {"client_learning_rate": 0.5}), "job.toml")
    state = strategy.initial_state(1)
    planned = strategy.plan(1, TrainPlan("mse", learning_rate=0.5), state)
    assert planned == TrainPlan("mse", learning_rate=0.5, measure_loss=True)
    says = r"training\.learning_rate: is 0\.1, .* told 0\.5; set strategy\.options\.client_learning_rate = 0\.1"
    with pytest.raises(PlanError, match=says):
        strategy.plan(1, TrainPlan("mse", learning_rate=0.1), state)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"client_learning_rate": 0.1, "q": -0.1}, "q: -0.1: expected `float` >= 0"),
        ({"client_learning_rate": 0.0}, "client_learning_rate: 0.0: expected `float` > 0"),
        ({}, "client_learning_rate: is missing; add it"),
    ],
)
def test_impossible_options_are_refused(options, says):
    with pytest.raises(ConfigError, match=rf"strategy\.options\.{says}"):
        create(StrategyChoice("qfedavg", options), "job.toml")
