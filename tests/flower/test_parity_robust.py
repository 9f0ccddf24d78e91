"""The same updates through flwr's robust strategies and through ours.

flwr fuses models, we fuse what was added to the model of the round before; all these rules follow when everything is
moved alike. It weighs the updates that Krum has chosen by samples, we do not: so here all have the same. Its Bulyan
chooses by one pass of Multi-Krum, where the paper's (and ours) chooses one by one: it is given that as its selection
rule, made of its own Krum; with its own, the two are compared where the choice is the same, with no attackers assumed.
"""

import numpy as np
import pytest

pytest.importorskip("flwr")

import flwr.serverapp.strategy as theirs
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy.multikrum import select_multikrum
from flwr.supercore.task_identity import TaskIdentity

from fedloom.job.choices import StrategyChoice
from strategies import ClientUpdate, UpdatesInMemory, create

COUNT = 13
SHAPES = ((7, 5), (5,), (5, 3))
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)


@pytest.fixture(autouse=True)
def _identity(monkeypatch):
    """flwr's messages carry the task of the process that makes them."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 0)


def one_by_one(contents, malicious, wanted):
    left, chosen = list(contents), []
    for _ in range(wanted):
        (best,) = select_multikrum(left, malicious, 1)
        left = [each for each in left if each is not best]
        chosen.append(best)
    return chosen


PAIRS = {
    "median": (theirs.FedMedian, {}, {}),
    "trimmed_mean": (theirs.FedTrimmedAvg, {"beta": 0.2}, {"beta": 0.2}),
    "krum": (theirs.Krum, {"num_malicious_nodes": 3}, {"f": 3}),
    "multi_krum": (theirs.MultiKrum, {"num_malicious_nodes": 3, "num_nodes_to_select": 10}, {"f": 3}),
    "bulyan": (theirs.Bulyan, {"num_malicious_nodes": 2, "selection_rule": one_by_one}, {"f": 2}),
    "bulyan, nobody lies": (theirs.Bulyan, {"num_malicious_nodes": 0}, {"f": 0}),
}


def draw(seed, attackers):
    rng = np.random.default_rng(seed)
    deltas = rng.normal(scale=0.1, size=(COUNT, SIZE)).astype(np.float32)
    deltas[rng.permutation(COUNT)[:attackers]] *= -50
    return rng.normal(size=SIZE).astype(np.float32), deltas


def ours(name, options, weights, deltas):
    rule = create(StrategyChoice(name, options), "job.toml")
    updates = UpdatesInMemory(ClientUpdate(bytes([i]) * 16, 10, delta) for i, delta in enumerate(deltas))
    return rule.fuse(weights, updates, rule.initial_state(SIZE)).weights


def through_flwr(strategy, weights, deltas):
    replies = []
    for node, delta in enumerate(deltas):
        asked = Message(RecordDict(), dst_node_id=node + 1, message_type=MessageType.TRAIN)
        content = RecordDict({"arrays": records(weights + delta), "metrics": MetricRecord({"num-examples": 10})})
        replies.append(Message(content, reply_to=asked))
    arrays, _ = strategy.aggregate_train(1, replies)
    return np.concatenate([each.ravel() for each in arrays.to_numpy_ndarrays()])


def records(weights):
    parts = np.split(weights, np.cumsum([int(np.prod(shape)) for shape in SHAPES])[:-1])
    named = zip("abc", parts, SHAPES, strict=True)
    return ArrayRecord({name: Array(part.reshape(shape)) for name, part, shape in named})


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", PAIRS)
def test_both_make_the_same_model(name, seed):
    kind, their_options, options = PAIRS[name]
    weights, deltas = draw(seed, attackers=2)
    found = ours(name.split(",")[0], options, weights, deltas)
    np.testing.assert_allclose(found, through_flwr(kind(**their_options), weights, deltas), rtol=0, atol=1e-6)


def test_without_the_papers_selection_flwrs_bulyan_is_another():
    """Should this fail, flwr has taken up the paper's: then compare with its default."""
    differences = []
    for seed in range(3):
        weights, deltas = draw(seed, attackers=2)
        mine = ours("bulyan", {"f": 2}, weights, deltas)
        differences.append(np.abs(mine - through_flwr(theirs.Bulyan(num_malicious_nodes=2), weights, deltas)).max())
    assert max(differences) > 1e-3
