"""Normalised averaging, by hand; and where devices take different numbers of steps."""

import pytest

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from fedloom.learning.plan import TrainPlan
from strategies import FusionError, PlanError, create


def test_updates_are_averaged_a_step(fuse_rounds, update):
    # τ_eff = ¼·1 + ¾·4 = 3¼; ¼·1/1 + ¾·8/4 = 1¾; 3¼·1¾ = 5.6875
    given = [update(1, [1.0], 10, steps=1), update(2, [8.0], 30, steps=4)]
    assert fuse_rounds("fednova", [given]) == [[5.6875]]


def test_with_as_many_steps_everywhere_it_is_fedavg(fuse_rounds, update):
    given = [update(1, [1.0, 0.0], 10, steps=4), update(2, [-1.0, 4.0], 30, steps=4)]
    assert fuse_rounds("fednova", [given]) == fuse_rounds("fedavg", [given])


def test_local_momentum_makes_a_longer_path(fuse_rounds, update):
    # ρ = ½: one step is 1 long, two are 1 + 1½ = 2½. τ_eff = 1¾; ½·1 + ½·5/2½ = 1½
    given = [update(1, [1.0], steps=1), update(2, [5.0], steps=2)]
    assert fuse_rounds("fednova", [given], local_momentum=0.5) == [[2.625]]


def test_who_took_no_step_counts_for_nothing(fuse_rounds, update):
    # τ_eff = ½·2 + ½·0 = 1; ½·4/2 = 1
    given = [update(1, [4.0], steps=2), update(2, [100.0], steps=0)]
    assert fuse_rounds("fednova", [given]) == [[1.0]]


def test_updates_without_steps_are_refused(fuse_rounds, update):
    with pytest.raises(FusionError, match="no update tells of a step"):
        fuse_rounds("fednova", [[update(1, [1.0])]])


def test_a_fast_device_does_not_draw_the_model_to_itself(federation):
    # Both weigh the same, so the optimum of all is 0; one takes fifty steps, the other one.
    devices = [((-1.0,), (1.0,), 1), ((1.0,), (1.0,), 50)]
    plain, normalised = (abs(federation(devices, 400, name, rate=0.005)[0]) for name in ("fedavg", "fednova"))
    assert plain > 0.9
    assert normalised < 0.1


@pytest.mark.parametrize(
    ("optimiser", "local_momentum", "says"),
    [
        ("adam", 0.0, r"training\.optimiser: is 'adam', .*; set it to 'sgd' or 'momentum'"),
        ("momentum", 0.0, r"training\.momentum: is 0\.9 .*; set strategy\.options\.local_momentum = 0\.9"),
        ("sgd", 0.9, r"training\.momentum: is 0\.0 .*; set strategy\.options\.local_momentum = 0\.0"),
    ],
)
def test_devices_must_train_with_what_it_is_told(optimiser, local_momentum, says):
    strategy = create(StrategyChoice("fednova", {"local_momentum": local_momentum}), "job.toml")
    with pytest.raises(PlanError, match=says):
        strategy.plan(1, TrainPlan("mse", optimiser=optimiser), strategy.initial_state(1))


@pytest.mark.parametrize(("optimiser", "local_momentum"), [("sgd", 0.0), ("momentum", 0.9)])
def test_the_plan_is_the_jobs_own(optimiser, local_momentum):
    strategy = create(StrategyChoice("fednova", {"local_momentum": local_momentum}), "job.toml")
    plan = TrainPlan("mse", optimiser=optimiser)
    assert strategy.plan(1, plan, strategy.initial_state(1)) == plan


def test_impossible_options_are_refused():
    with pytest.raises(ConfigError, match=r"strategy\.options\.local_momentum: 1\.0: expected `float` < 1"):
        create(StrategyChoice("fednova", {"local_momentum": 1.0}), "job.toml")
