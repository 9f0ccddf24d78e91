"""The same updates through flwr's own loop, through our rule of the same name, and through flwr as a rule of ours.

Where flwr's algorithm is another than its paper's, ours is brought to do the same for the test, and the pair says how:
so the difference is that, and nothing else.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flwr.serverapp.strategy as theirs
import msgspec
import numpy as np
import peer_loop
import pytest
from flwr.serverapp.strategy.multikrum import select_multikrum

from fedloom import msgpack
from fedloom.job.choices import StrategyChoice
from strategies import State, UpdatesInMemory, create
from strategies.flower.choice import KNOWN

ROUNDS = 5
SEEDS = [2, 3]
"""Of which no exact update has two weights that are equally far from a median: both may then take either."""
FEDOPT = {"eta": 0.05, "tau": 1e-3}
BETAS = {"beta_1": 0.9, "beta_2": 0.99}


class Pair(NamedTuple):
    """A strategy of flwr and ours, with options that mean the same."""

    theirs: str
    options: Mapping[str, float]
    ours: Callable[[int], StrategyChoice]
    """For a round."""
    begin: Callable[[State], State] = lambda state: state
    """What is different from our own state before round 1."""
    code: Mapping[str, object] = {}
    """Options of flwr's that a job cannot hold."""
    has_equal_samples: bool = False
    """Where one of them weighs by samples and the other does not."""
    is_exact: bool = False
    """One round of numbers that are short enough for exact distances: so equal ones are equal for both."""


def same(name: str, **options: float) -> Callable[[int], StrategyChoice]:
    """Our rule, in every round."""
    return lambda number: StrategyChoice(name, options)


def fedopt(name: str, rate: Callable[[int], float] = lambda number: 1.0, **options: float):
    return lambda number: StrategyChoice(
        name, {"server_learning_rate": FEDOPT["eta"] * rate(number), "tau": FEDOPT["tau"], **options}
    )


def corrected(number: int) -> float:
    """flwr corrects FedAdam's bias as Kingma and Ba do, one round ahead; the paper does not."""
    return float(np.sqrt(1 - BETAS["beta_2"] ** (number + 1)) / (1 - BETAS["beta_1"] ** (number + 1)))


def second_from_zero(state: State) -> State:
    """flwr's second moment begins with 0, the paper's with τ²."""
    return msgspec.structs.replace(state, second=bytes(len(state.second)))


def one_after_the_other(contents, attackers, count):
    """The paper's Bulyan: Krum among those that are left, again and again. flwr takes the first `count` of one Krum."""
    left, chosen = list(contents), []
    for _ in range(count):
        (best,) = select_multikrum(left, attackers, 1)
        left = [each for each in left if each is not best]
        chosen.append(best)
    return chosen


PAIRS = [
    Pair("FedAvg", {}, same("fedavg")),
    Pair("FedProx", {"proximal_mu": 0.1}, same("fedprox", mu=0.1)),
    Pair(
        "FedAvgM",
        {"server_momentum": 0.9, "server_learning_rate": 0.5},
        same("fedavgm", server_momentum=0.9, server_learning_rate=0.5),
    ),
    Pair("FedAdagrad", FEDOPT, fedopt("fedadagrad"), second_from_zero),
    Pair("FedAdam", FEDOPT | BETAS, fedopt("fedadam", corrected, beta1=0.9, beta2=0.99), second_from_zero),
    Pair("FedYogi", FEDOPT | BETAS, fedopt("fedyogi", beta1=0.9, beta2=0.99), second_from_zero),
    Pair("QFedAvg", {"client_learning_rate": 0.1, "q": 0.5}, same("qfedavg", client_learning_rate=0.1, q=0.5)),
    Pair("FedMedian", {}, same("median")),
    Pair("FedTrimmedAvg", {"beta": 0.2}, same("trimmed_mean", beta=0.2)),
    Pair("Krum", {"num_malicious_nodes": 2}, same("krum", f=2)),
    Pair(
        "MultiKrum",  # flwr's mean is weighted by samples, which a liar may choose
        {"num_malicious_nodes": 2, "num_nodes_to_select": 3},
        same("multi_krum", f=2, kept=3),
        has_equal_samples=True,
    ),
    Pair(
        "Bulyan",  # the last two of a selection are each other's only neighbours, and so equal
        {"num_malicious_nodes": 1},
        same("bulyan", f=1),
        code={"selection_rule": one_after_the_other},
        is_exact=True,
    ),
]


def case(pair: Pair, seed: int):
    weights, updates = peer_loop.start(seed), peer_loop.draw(seed, ROUNDS)
    if pair.has_equal_samples:
        updates = [[update._replace(samples=5) for update in given] for given in updates]
    if pair.is_exact:
        weights = np.zeros_like(weights)
        updates = [[update._replace(delta=np.round(update.delta * 4096) / np.float32(4096)) for update in updates[0]]]
    return weights, updates


def run_ours(weights, updates, choose: Callable[[int], StrategyChoice], begin=lambda state: state):
    """The model after each round, the state having been a file in between."""
    state, models = None, []
    for number, given in enumerate(updates, start=1):
        rule = create(choose(number), "job.toml", layout=peer_loop.LAYOUT)
        state = begin(rule.initial_state(weights.size)) if state is None else state
        weights, state = rule.fuse(weights, UpdatesInMemory(given), state)
        state = msgpack.decode(msgpack.encode(state), type(state))
        models.append(weights)
    return models


def test_every_strategy_of_flwr_that_a_job_can_name_is_compared():
    assert sorted(pair.theirs for pair in PAIRS) == sorted(KNOWN)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.theirs)
def test_our_rule_does_what_flwr_does(pair, seed):
    weights, updates = case(pair, seed)
    peer = peer_loop.run_flwr(getattr(theirs, pair.theirs)(**pair.options, **pair.code), weights, updates)
    np.testing.assert_allclose(run_ours(weights, updates, pair.ours, pair.begin), peer, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.theirs)
def test_flwr_in_a_job_does_what_flwr_alone_does(pair, seed):
    weights, updates = case(pair, seed)
    peer = peer_loop.run_flwr(getattr(theirs, pair.theirs)(**pair.options), weights, updates)
    in_job = run_ours(weights, updates, same(f"flwr:{pair.theirs}", **pair.options))
    np.testing.assert_allclose(in_job, peer, rtol=0, atol=1e-6)
    assert {model.dtype for model in in_job} == {np.dtype(np.float32)}
