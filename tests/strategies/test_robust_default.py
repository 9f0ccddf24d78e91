"""`robust = true`: a rule without a choice."""

import numpy as np
import pytest
from directions import normal, updates

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import create, registry


def test_it_is_the_rule_that_the_registry_names():
    made = create(StrategyChoice(robust=True), "job.toml")
    assert type(made.combine) is registry.COMPOSED[registry.ROBUST.name].combine
    assert [type(each) for each in made.before] == [registry.BEFORE[name] for name in registry.ROBUST.before]


def test_its_server_and_options_may_be_chosen():
    made = create(StrategyChoice(robust=True, server="sgd", options={"server_learning_rate": 0.5}), "job.toml")
    assert made.server.server_learning_rate == 0.5


@pytest.mark.parametrize("choice", [{"name": "krum"}, {"before": ("clip_norm",)}])
def test_another_choice_beside_it_is_refused(choice):
    with pytest.raises(
        ConfigError, match=rf"strategy\.{next(iter(choice))}: .*robust = true.*leave one of the two out"
    ):
        create(StrategyChoice(robust=True, **choice), "job.toml")


def test_in_an_asynchronous_job_it_is_what_has_to_go():
    with pytest.raises(
        ConfigError, match=r"strategy\.robust: true knows nothing of stale updates.*leave it out and set"
    ):
        create(StrategyChoice(robust=True), "job.toml", is_asynchronous=True)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 21])
@pytest.mark.parametrize("far", [1e3, -1e30])
def test_a_third_of_the_updates_moves_it_no_farther_than_the_honest_are(count, far):
    attackers = (3 * count) // 10
    honest = 1.0 + normal(count, count - attackers)
    rows = np.concatenate((np.full((attackers, 6), far, np.float32), honest))
    made = create(StrategyChoice(robust=True), "job.toml")
    state, weights = made.initial_state(6), np.zeros(6, np.float32)
    for _ in range(3):
        fused, state = made.fuse(weights, updates(rows), state)
        assert np.linalg.norm(fused - honest.mean(axis=0)) < 2 * np.linalg.norm(honest, axis=1).max()
