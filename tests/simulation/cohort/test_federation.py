"""A federation of virtual clients beside devices that train one after the other."""

import math

import numpy as np
import pytest
from devices import Devices
from federations import WHERE, job, parts, population, run
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.data.prepare import Prepared
from fedloom.errors import InputError
from fedloom.learning.dataset import Dataset
from simulation.cohort.crew import OneHand
from simulation.cohort.federation import Federation, SimulationError
from simulation.population.files import of_parts

WHOLE = {"batch_size": 0}
"""Full batches: nothing depends on the order of samples."""
HEAD = {"method": "head"}
DITTO = {"method": "ditto", "epochs": 2}


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadam", "median", "scaffold", "feddyn", "fednova"])
@pytest.mark.parametrize("encoding", ["float32", "int8", "topk"])
@pytest.mark.parametrize("personal", [None, HEAD, DITTO], ids=["common", "head", "ditto"])
def test_it_is_what_devices_come_to(strategy: str, encoding: str, personal: dict[str, object] | None) -> None:
    if personal == HEAD and strategy in ("scaffold", "feddyn"):
        pytest.skip("both correct the training of all weights")
    update = {"encoding": encoding} | ({"share": 0.3} if encoding == "topk" else {})
    tables = {} if personal is None else {"personal": personal}
    asked = job(training=WHOLE, strategy={"name": strategy}, update=update, rounds={"count": 4}, **tables)
    federation, devices = run(asked), Devices(asked, parts())
    np.testing.assert_allclose(federation.model.weights, devices.run(), rtol=0, atol=1e-5)
    assert federation.history.rounds == [0, 1, 2, 3, 4]
    assert federation.history.metrics[-1]["accuracy"] == pytest.approx(devices.accuracy)


@pytest.mark.parametrize("strategy", ["fedavg", "feddyn"])
@pytest.mark.parametrize("encoding", ["int8", "sign", "topk"])
def test_clients_forget_what_an_encoding_has_lost_where_the_job_says_so(strategy: str, encoding: str) -> None:
    update = {"encoding": encoding, "error_feedback": False} | ({"share": 0.3} if encoding == "topk" else {})
    asked = job(training=WHOLE, strategy={"name": strategy}, update=update, rounds={"count": 4})
    forgetful = run(asked).model.weights
    np.testing.assert_allclose(forgetful, Devices(asked, parts()).run(), rtol=0, atol=1e-5)
    kept = run(job(training=WHOLE, strategy={"name": strategy}, update=update | {"error_feedback": True}))
    assert np.abs(forgetful - kept.model.weights).max() > 1e-4


def test_losses_are_measured_where_a_rule_asks() -> None:
    asked = job(training=WHOLE, strategy={"name": "qfedavg", "options": {"client_learning_rate": 0.2}})
    np.testing.assert_allclose(run(asked).model.weights, Devices(asked, parts()).run(), rtol=0, atol=1e-5)


LOSSES: list[dict[str, dict[str, object]]] = [
    {"training": WHOLE | {"class_weights": [1.0, 2.0, 0.5]}},
    {"training": WHOLE | {"loss": "mse"}, "model": {"outputs": 1}, "data": {"classes": []}},
    {
        "training": WHOLE | {"loss": "binary_cross_entropy"},
        "model": {"outputs": 1},
        "data": {"classes": ["a", "b"]},
    },
]


@pytest.mark.parametrize("tables", LOSSES, ids=["class weights", "mse", "binary"])
def test_all_losses_are_those_of_devices(tables: dict[str, dict[str, object]]) -> None:
    asked, clients = job(**tables), parts()
    loss = asked.training.loss
    if loss != "cross_entropy":
        clients = [Prepared(*(with_targets(each, loss) for each in client)) for client in clients]
    devices = Devices(asked, clients)
    federation = run(asked, of_parts(clients))
    np.testing.assert_allclose(federation.model.weights, devices.run(), rtol=0, atol=1e-5)
    assert federation.history.metrics[-1]["loss"] == pytest.approx(devices.figures["loss"], rel=1e-5)


def with_targets(data: Dataset, loss: str) -> Dataset:
    """Of the same points, numbers or two classes."""
    if loss == "mse":
        return Dataset(data.x, data.x.sum(axis=1, keepdims=True))
    return Dataset(data.x, (data.y > 0).astype(np.int64))


def test_own_models_are_those_that_devices_keep() -> None:
    asked = job(training=WHOLE, personal=DITTO, rounds={"count": 2})
    devices = Devices(asked, parts())
    devices.run()
    figures = run(asked).history.metrics[-1]
    devices_own = [own for own in devices.own if not np.array_equal(own, devices.weights)]
    assert len(devices_own) == 6
    assert figures["personal_accuracy"] == pytest.approx(own_accuracy(devices))


def own_accuracy(devices: Devices) -> float:
    right = []
    for own, held in zip(devices.own, devices.held, strict=True):
        alone = Devices.__new__(Devices)
        alone.job, alone.weights, alone.held = devices.job, own, [held]
        right.append(alone.accuracy)
    return sum(right) / len(right)


def test_the_same_job_gives_the_same_model() -> None:
    asked = job(rounds={"cohort": 0.5})
    first, second = run(asked), run(asked)
    assert first.model.weights.tobytes() == second.model.weights.tobytes()
    assert first.history.metrics == second.history.metrics
    other = run(job(rounds={"cohort": 0.5}, seed=6))
    assert other.model.weights.tobytes() != first.model.weights.tobytes()


def test_it_learns_and_counts_what_is_sent() -> None:
    history = run(job(rounds={"count": 8, "cohort": 0.5}), population(20)).history
    assert history.metrics[-1]["accuracy"] > 0.8 > history.metrics[0]["accuracy"]
    assert history.updates == [10] * 8
    assert history.update_bytes == history.model_bytes == [10 * 4 * 27] * 8


def test_it_stops_when_the_metric_no_longer_improves() -> None:
    history = run(job(rounds={"count": 50}, stopping={"metric": "accuracy", "patience": 2, "tolerance": 1.0})).history
    assert len(history.updates) == 3


def test_updates_beyond_the_norm_make_no_model() -> None:
    said = r"round 1 makes no model after 3 attempts: 0 updates of 1 needed; 6 refused by update\.max_norm; lower "
    with pytest.raises(SimulationError, match=said + r"training\..* or raise update\.max_norm \(now 1e-09\)"):
        run(job(update={"max_norm": 1e-9}))


def test_training_that_diverges_is_told_with_the_rate_to_lower() -> None:
    said = r"training diverged: weights or loss are not finite; lower training\.learning_rate \(now 1e\+30\)$"
    with pytest.raises(SimulationError, match=said):
        run(job(training={"learning_rate": 1e30, "loss": "cross_entropy"}))


@pytest.mark.parametrize("evaluate", [1.0, 0.0])
def test_a_last_model_that_has_diverged_is_told_as_one_in_between_is(evaluate: float) -> None:
    """Its weights are finite, and its loss is not."""
    strategy = {"name": "fedavg", "options": {"server_learning_rate": 1e25}}
    asked = job(strategy=strategy, model={"hidden": [4, 4]}, rounds={"count": 1, "evaluate": evaluate})
    people = of_parts(parts())
    people.test = people.pool
    said = r"the last model cannot be measured: .* not finite; lower training\.learning_rate \(now .*\), or lower strat"
    with pytest.raises(SimulationError, match=said + r"egy\.options\.server_learning_rate \(now 1e\+25\)"):
        run(asked, people)


def test_a_job_for_more_devices_than_clients_is_refused() -> None:
    with pytest.raises(InputError, match=r"rounds\.devices: the job waits for 7 devices, but there are 6 clients"):
        Federation(job(rounds={"devices": 7}), WHERE, population(), OneHand)


def test_a_job_that_needs_labels_is_refused() -> None:
    with pytest.raises(InputError, match=r"cohort\.require: the devices of a simulation have no labels"):
        Federation(job(cohort={"require": ["room=1"]}), WHERE, population(), OneHand)


@settings(max_examples=20, deadline=None)
@given(clients=st.integers(2, 40), share=st.floats(0.01, 1.0), evaluate=st.floats(0.0, 1.0))
def test_cohorts_are_as_large_as_a_fleets(clients: int, share: float, evaluate: float) -> None:
    asked = job(rounds={"count": 1, "cohort": share, "evaluate": evaluate}, model={"hidden": []})
    history = run(asked, population(clients)).history
    assert history.updates == [max(1, math.ceil(share * clients - 1e-9))]
    assert bool(history.metrics) == bool(evaluate)
