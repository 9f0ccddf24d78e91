"""A federation of virtual clients beside a plain loop over devices, and what it does with all that a job may ask."""

import numpy as np
import pytest
from federations import job, parts, population, run

from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate
from fedloom.learning.initialise import initial_weights
from fedloom.learning.layout import Vector
from fedloom.learning.standardise import Moments
from fedloom.learning.trainer import Trainer
from strategies import ClientUpdate, UpdatesInMemory, create_for

WHOLE = {"batch_size": 0}
"""Full batches: nothing depends on the order of samples."""


def plain(job: Job) -> tuple[Vector, float]:
    """The last model, and its accuracy on all hold-outs: everybody in each round, one after the other."""
    clients = parts()
    moments = [Moments.of(each.train.x) for each in clients]
    standardiser = sum(moments[1:], moments[0]).standardiser()
    data = [Dataset(standardiser.apply(each.train.x), each.train.y) for each in clients]
    held = [Dataset(standardiser.apply(each.holdout.x), each.holdout.y) for each in clients]
    strategy = create_for(job, "job.toml")
    weights = initial_weights(job.model, np.random.default_rng(job.seed))
    state = strategy.initial_state(weights.size)
    for number in range(1, job.rounds.count + 1):
        trainer = Trainer(job.model, strategy.plan(number, job.training, state))
        updates = []
        for client, own in enumerate(data):
            fit = trainer.fit(weights, own, np.random.default_rng(1))
            updates.append(ClientUpdate((client + 1).to_bytes(16, "big"), fit.samples, fit.weights - weights))
        weights, state = strategy.fuse(weights, UpdatesInMemory(updates), state)
    metrics = [evaluate(job.model, job.training.loss, weights, each) for each in held]
    return weights, sum(metrics[1:], metrics[0]).summary()["accuracy"]


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadam", "median"])
def test_it_is_what_devices_come_to_one_after_the_other(strategy: str) -> None:
    given = job(training=WHOLE, strategy={"name": strategy})
    federation = run(given)
    weights, accuracy = plain(given)
    np.testing.assert_allclose(federation.model.weights, weights, rtol=0, atol=1e-5)
    assert federation.history.rounds == [0, 1, 2, 3]
    assert federation.history.metrics[-1]["accuracy"] == pytest.approx(accuracy)


def test_the_same_job_gives_the_same_model() -> None:
    given = job(rounds={"cohort": 0.5})
    first, second = run(given), run(given)
    assert first.model.weights.tobytes() == second.model.weights.tobytes()
    assert first.history.metrics == second.history.metrics
    other = run(job(rounds={"cohort": 0.5}, seed=6))
    assert other.model.weights.tobytes() != first.model.weights.tobytes()


def test_it_learns_and_counts_what_is_sent() -> None:
    history = run(job(rounds={"count": 8, "cohort": 0.5}), population(20)).history
    assert history.metrics[-1]["accuracy"] > 0.8 > history.metrics[0]["accuracy"]
    assert history.updates == [10] * 8
    assert history.update_bytes == [10 * 4 * 27] * 8
