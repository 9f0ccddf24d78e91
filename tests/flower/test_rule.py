"""What our own rules promise, strategies of Flower in a job promise as well."""

import numpy as np
import peer_loop
import pytest

from fedloom import msgpack
from fedloom.flower.nodes import node_of
from fedloom.job.choices import StrategyChoice
from fedloom.learning.plan import TrainPlan
from strategies import FusionError, UpdatesInMemory, create
from strategies.flower.choice import KNOWN
from strategies.testing import check_strategy

PLAN = TrainPlan(loss="mse", learning_rate=0.3)
NEEDED = {"QFedAvg": {"client_learning_rate": 0.1}}


def rule(name, **options):
    return create(StrategyChoice(f"flwr:{name}", options), "job.toml", layout=peer_loop.LAYOUT)


def own(name, **options):
    return rule(f"own_strategies:{name}", **options)


def fuse(made, updates, weights=None, state=None):
    weights = peer_loop.start() if weights is None else weights
    return made.fuse(weights, UpdatesInMemory(updates), state or made.initial_state(weights.size))


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_it_keeps_every_promise(name):
    made = create(StrategyChoice(f"flwr:{name}", NEEDED.get(name, {})), "job.toml")
    check_strategy(made, fewest=3 if name == "Bulyan" else 1)


def test_a_rule_that_forgot_would_go_elsewhere():
    """So the state is what makes test_parity's rounds agree."""
    made = rule("FedAdam", beta_1=0.9, beta_2=0.99)
    first, second = peer_loop.draw(7, 2)
    state = fuse(made, first).state
    with_memory, without = fuse(made, second, state=state), fuse(made, second)
    assert np.abs(with_memory.weights - without.weights).max() > 1e-3


def test_fedprox_tells_the_devices_its_term():
    made = rule("FedProx", proximal_mu=0.25)
    assert made.plan(1, PLAN, made.initial_state(24)) == TrainPlan(loss="mse", learning_rate=0.3, proximal_mu=0.25)


def test_qfedavg_has_the_devices_measure_their_loss():
    made = rule("QFedAvg", client_learning_rate=0.1)
    assert made.plan(1, PLAN, made.initial_state(24)).measure_loss
    (updates,) = peer_loop.draw(13, 1)
    with pytest.raises(FusionError, match="Missing or invalid training loss"):
        fuse(made, [updates[0]._replace(loss=float("nan")), *updates[1:]])


def test_a_strategy_of_ones_own_sets_the_plan_and_remembers():
    made = own("Decaying", rate=1)
    state, weights, rates = made.initial_state(24), peer_loop.start(), []
    for updates in peer_loop.draw(8, 3, clients=2):
        rates.append(made.plan(1, PLAN, state).learning_rate)
        weights, state = fuse(made, updates, weights, state)
        state = msgpack.decode(msgpack.encode(state), type(state))
    assert rates == [1.0, 0.5, pytest.approx(1 / 3)]
    seen = state.memory["seen"].items
    assert [item.items[0] for item in seen] == [1, 1, 2, 2, 3, 3]
    nodes = {node_of(bytes([client]) * 16) for client in (0, 1)}
    assert {node for node, _ in state.memory["by_node"].items} == nodes


def test_arrays_are_taken_by_name_and_made_float32():
    (updates,) = peer_loop.draw(9, 1)
    np.testing.assert_allclose(
        fuse(own("Backwards"), updates).weights, fuse(rule("FedAvg"), updates).weights, rtol=0, atol=1e-7
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Renaming", r"gave arrays \['my.0.bias'"),
        ("Transposing", r"'0.weight' as float32 \(4, 3\), where \(3, 4\) floats belong"),
        ("Failing", "KeyError: 'gone'"),
        ("Ending", "SystemExit: 3"),
        ("Later", "attribute 'window' of Later cannot be kept from round to round .a collections.deque."),
    ],
)
def test_what_cannot_be_a_model_fails_the_round_alone(name, says):
    with pytest.raises(FusionError, match=says):
        fuse(own(name), peer_loop.draw(10, 1)[0])


def test_too_few_updates_fail_the_round():
    with pytest.raises(FusionError, match="no update carries a sample"):
        fuse(rule("FedAvg"), [])
    with pytest.raises(FusionError, match="no update carries a sample"):
        fuse(rule("FedAvg"), [update._replace(samples=0) for update in peer_loop.draw(11, 1)[0]])
    with pytest.raises(FusionError, match="made no model of these updates"):
        fuse(rule("Bulyan", num_malicious_nodes=2), peer_loop.draw(11, 1)[0])


def test_without_a_layout_all_weights_are_one_array():
    made = create(StrategyChoice("flwr:FedMedian"), "job.toml")
    (updates,) = peer_loop.draw(12, 1)
    assert fuse(made, updates).weights.tolist() == fuse(rule("FedMedian"), updates).weights.tolist()
