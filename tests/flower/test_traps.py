"""What flwr does to whom uses it directly, shown on flwr itself, and that a job with the same strategy is spared.

docs/flower.md lists them. A test that fails after an upgrade of flwr may tell that a trap is gone: then take it out.
"""

import flwr.serverapp.strategy as theirs
import numpy as np
import peer_loop
import pytest
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.exception import InconsistentMessageReplies

from fedloom.job.choices import StrategyChoice
from strategies import FusionError, UpdatesInMemory, create
from strategies.flower.messages import have_identity

QFEDAVG = {"client_learning_rate": 0.1}


def reply(arrays, node=1, samples=1):
    have_identity()
    metrics = MetricRecord({"num-examples": samples, "train_loss": 1.0})
    asked = Message(RecordDict(), node, MessageType.TRAIN)
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=asked)


def numbers(**values):
    return {name: Array(np.array([value], np.float32)) for name, value in values.items()}


def aggregate(strategy, *replies):
    arrays, _ = strategy.aggregate_train(1, list(replies))
    return {name: array.numpy().tolist() for name, array in arrays.items()}


def in_a_job(name, updates, **options):
    made = create(StrategyChoice(f"flwr:{name}", options), "job.toml", layout=peer_loop.LAYOUT)
    return made.fuse(peer_loop.start(), UpdatesInMemory(updates), made.initial_state(24)).weights


@pytest.mark.parametrize(
    ("name", "options", "becomes"),
    [("FedAvg", {}, np.float32), ("FedAdam", {}, np.float64), ("QFedAvg", QFEDAVG, np.float64)],
)
def test_the_model_becomes_float64(name, options, becomes):
    updates = peer_loop.draw(1, 2)
    models = peer_loop.run_flwr(getattr(theirs, name)(**options), peer_loop.start(), updates)
    assert models[-1].dtype == becomes
    assert in_a_job(name, updates[0], **options).dtype == np.float32


def test_fedavgm_pairs_arrays_by_position():
    """Of a client that lists its arrays in another order each is subtracted from the wrong one."""
    strategy = theirs.FedAvgM(server_learning_rate=0.5)
    strategy.current_arrays = ArrayRecord(numbers(a=0, b=10))
    assert aggregate(strategy, reply(numbers(b=10, a=0))) == {"b": [5.0], "a": [5.0]}  # and nobody has moved


@pytest.mark.parametrize("name", ["FedMedian", "FedTrimmedAvg"])
def test_replies_are_used_up(name):
    given = reply(numbers(a=1))
    aggregate(getattr(theirs, name)(), given)
    assert dict(given.content["arrays"]) == {}
    (updates,) = peer_loop.draw(2, 1)
    assert in_a_job(name, updates).tolist() == in_a_job(name, updates).tolist()


@pytest.mark.parametrize("name", ["FedAvg", "FedMedian"])
def test_a_single_nan_is_taken(name):
    """An aggregator refuses such an update at its door; should the strategy make one by itself, the round fails."""
    strategy = getattr(theirs, name)()
    assert np.isnan(aggregate(strategy, reply(numbers(a=1)), reply(numbers(a=np.nan)))["a"]).all()
    (updates,) = peer_loop.draw(3, 1, clients=2)
    with pytest.raises(FusionError, match="not finite"):
        in_a_job(name, [updates[0], updates[1]._replace(delta=updates[1].delta * np.nan)])


def test_a_reply_that_comes_twice_counts_twice():
    """A job's updates are named by device and round; of a device's two the aggregator stores one."""
    once = reply(numbers(a=0), node=1), reply(numbers(a=3), node=2)
    assert aggregate(theirs.FedAvg(), *once) == {"a": [1.5]}
    assert aggregate(theirs.FedAvg(), *once, once[1]) == {"a": [2.0]}


def test_one_malformed_reply_ends_the_whole_run():
    with pytest.raises(InconsistentMessageReplies):
        aggregate(theirs.FedAvg(), reply(numbers(a=1)), reply(numbers(b=1)))


def test_a_round_without_a_sample_divides_by_zero():
    with pytest.raises(ZeroDivisionError):
        aggregate(theirs.FedAvg(), reply(numbers(a=1), samples=0))
    (updates,) = peer_loop.draw(4, 1)
    with pytest.raises(FusionError, match="no update carries a sample"):
        in_a_job("FedAvg", [update._replace(samples=0) for update in updates])


def test_krum_cannot_tell_models_apart_that_are_large():
    """Its distances are ‖x‖² + ‖y‖² − 2·x·y in float32: of large weights all that differs is rounded away."""
    from flwr.serverapp.strategy.multikrum import compute_distances

    near, far = np.float32([4096.0, 0.0]), np.float32([4096.0, 0.25])
    distances = compute_distances([ArrayRecord({"a": Array(each)}) for each in (near, far)])
    assert distances[0, 1] != 0.0625
