"""FedDyn's server by hand."""

import numpy as np
import pytest

from fedloom.job.choices import StrategyChoice
from fedloom.learning.corrections import feddyn_change
from fedloom.learning.plan import TrainPlan
from strategies import ClientUpdate, PlanError, UpdatesInMemory, create
from strategies.variates import sum_of

UPDATES = [
    ClientUpdate(b"a" * 16, 10, np.array([1.0, 0.0], np.float32)),
    ClientUpdate(b"b" * 16, 30, np.array([-2.0, 4.0], np.float32)),
]
WEIGHTS = np.array([1.0, 2.0], np.float32)


def make(**options):
    return create(StrategyChoice("feddyn", options), "job.toml")


def test_the_mean_goes_further_by_what_is_remembered():
    rule = make(alpha=0.5, devices=4)
    # ΣΔ = (−1, 4); h = −½ · ΣΔ / 4 = (⅛, −½); w + ΣΔ/2 − h/½ = (1 − ½ − ¼, 2 + 2 + 1)
    fused = rule.fuse(WEIGHTS, UpdatesInMemory(UPDATES), rule.initial_state(2))
    np.testing.assert_allclose(fused.weights, [0.25, 5.0], rtol=1e-6)
    # again: h = (¼, −1), so w + ΣΔ/2 − h/½ = (1 − ½ − ½, 2 + 2 + 2)
    again = rule.fuse(WEIGHTS, UpdatesInMemory(UPDATES), fused.state)
    np.testing.assert_allclose(again.weights, [0.0, 6.0], atol=1e-6)


def test_the_server_remembers_the_sum_of_what_the_devices_keep():
    rule = make(alpha=0.3)
    state = rule.fuse(WEIGHTS, UpdatesInMemory(UPDATES), rule.initial_state(2)).state
    kept = sum(feddyn_change(update.delta, 0.3) for update in UPDATES)
    np.testing.assert_allclose(sum_of(state), kept, rtol=1e-6)


def test_the_plan_has_both_terms_and_mu_has_one_source():
    rule = make(alpha=0.2)
    plan = rule.plan(1, TrainPlan(loss="mse", optimiser="adam"), rule.initial_state(2))
    assert (plan.correction, plan.proximal_mu) == ("feddyn", 0.2)
    with pytest.raises(PlanError, match=r"training\.proximal_mu"):
        rule.plan(1, TrainPlan(loss="mse", proximal_mu=0.1), rule.initial_state(2))
