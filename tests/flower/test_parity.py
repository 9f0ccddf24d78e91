"""The same updates through flwr's own loop, through our rule of the same name, and through flwr as a rule of ours."""

from collections.abc import Mapping
from typing import NamedTuple

import flwr.serverapp.strategy as theirs
import numpy as np
import peer_loop
import pytest

from fedloom import msgpack
from fedloom.job import StrategyChoice
from strategies import UpdatesInMemory, create
from strategies.flower.choice import KNOWN

ROUNDS = 5


class Pair(NamedTuple):
    """A strategy of flwr and ours, with options that mean the same."""

    theirs: str
    options: Mapping[str, float]
    ours: StrategyChoice | None


PAIRS = [
    Pair("FedAvg", {}, StrategyChoice("fedavg")),
    Pair("FedAvgM", {"server_momentum": 0.9, "server_learning_rate": 0.5}, None),
    Pair("FedAdagrad", {"eta": 0.05, "tau": 1e-3}, None),
    Pair("FedAdam", {"eta": 0.05, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3}, None),
    Pair("FedYogi", {"eta": 0.05, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3}, None),
    Pair("QFedAvg", {"client_learning_rate": 0.1, "q": 0.5}, None),
    Pair("FedMedian", {}, None),
    Pair("FedTrimmedAvg", {"beta": 0.2}, None),
    Pair("Krum", {"num_malicious_nodes": 2}, None),
    Pair("MultiKrum", {"num_malicious_nodes": 2, "num_nodes_to_select": 3}, None),
    Pair("Bulyan", {"num_malicious_nodes": 1}, None),
    Pair("FedProx", {"proximal_mu": 0.1}, StrategyChoice("fedavg")),
]


def peers(pair, weights, updates):
    return peer_loop.run_flwr(getattr(theirs, pair.theirs)(**pair.options), weights, updates)


def run_ours(choice, weights, updates):
    """The model after each round, the state having been a file in between."""
    rule = create(choice, "job.toml", layout=peer_loop.LAYOUT)
    state, models = rule.initial_state(weights.size), []
    for given in updates:
        weights, state = rule.fuse(weights, UpdatesInMemory(given), state)
        state = msgpack.decode(msgpack.encode(state), type(state))
        models.append(weights)
    return models


def test_every_strategy_of_flwr_that_a_job_can_name_is_compared():
    assert sorted(pair.theirs for pair in PAIRS) == sorted(KNOWN)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.theirs)
def test_flwr_in_a_job_does_what_flwr_alone_does(pair, seed):
    updates, weights = peer_loop.draw(seed, ROUNDS), peer_loop.start(seed)
    in_job = run_ours(StrategyChoice(f"flwr:{pair.theirs}", dict(pair.options)), weights, updates)
    np.testing.assert_allclose(in_job, peers(pair, weights, updates), rtol=0, atol=1e-6)
    assert {model.dtype for model in in_job} == {np.dtype(np.float32)}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.ours], ids=lambda pair: pair.theirs)
def test_our_rule_does_what_flwr_does(pair, seed):
    updates, weights = peer_loop.draw(seed, ROUNDS), peer_loop.start(seed)
    np.testing.assert_allclose(run_ours(pair.ours, weights, updates), peers(pair, weights, updates), rtol=0, atol=1e-6)
