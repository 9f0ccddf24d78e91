"""FedProx: what the devices are asked to do; the fusion is FedAvg's."""

import pytest

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from fedloom.learning.plan import TrainPlan
from strategies import PlanError, create

PLAN = TrainPlan(loss="mse", l2=0.5)


def strategy(**options):
    return create(StrategyChoice("fedprox", options), "job.toml")


def test_the_devices_get_a_proximal_term_and_keep_the_rest_of_their_plan():
    rule = strategy(mu=0.25)
    plan = rule.plan(3, PLAN, rule.initial_state(4))
    assert (plan.proximal_mu, plan.l2, plan.correction) == (0.25, 0.5, "none")
    assert PLAN.proximal_mu == 0.0


def test_it_goes_with_any_server_optimiser_and_takes_their_options():
    assert strategy(mu=0.5, server_learning_rate=0.1).server.server_learning_rate == 0.1


def test_a_second_source_of_mu_is_refused():
    with pytest.raises(PlanError, match=r"training\.proximal_mu: is 0\.1.*leave it out"):
        strategy().plan(1, TrainPlan(loss="mse", proximal_mu=0.1), strategy().initial_state(4))


@pytest.mark.parametrize("mu", [0.0, -1.0])
def test_a_mu_that_does_nothing_is_refused(mu):
    with pytest.raises(ConfigError, match=r"strategy\.options"):
        strategy(mu=mu)
