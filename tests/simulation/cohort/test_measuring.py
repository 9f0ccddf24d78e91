"""What many clients measure at once is what each measures."""

import numpy as np
import pytest
from federations import job

from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate, mean_loss
from simulation.cohort.measuring import by_client, mean_losses
from simulation.population.base import Samples
from simulation.population.rows import offsets

SIZES = np.array([3, 0, 5, 1, *[4] * 40, 0])
BINARY = {"training": {"loss": "binary_cross_entropy"}, "model": {"outputs": 1}, "data": {"classes": ["a", "b"]}}
NUMBERS = {"training": {"loss": "huber"}, "model": {"outputs": 2}, "data": {"classes": []}}
JOBS = {"classes": job(), "two classes": job(**BINARY), "numbers": job(**NUMBERS)}


def data_of(job: Job) -> tuple[Dataset, Samples]:
    rng, count = np.random.default_rng(4), int(SIZES.sum())
    x = rng.normal(size=(count, 2)).astype(np.float32)
    classes = {"cross_entropy": 3, "binary_cross_entropy": 2}.get(job.training.loss)
    y = rng.integers(0, classes, count) if classes else rng.normal(size=(count, 2)).astype(np.float32)
    return Dataset(x, y), Samples(np.arange(count), offsets(SIZES))


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("is_common", [True, False], ids=["one model", "a model each"])
def test_sums_are_those_of_each_client(name: str, is_common: bool) -> None:
    asked = JOBS[name]
    data, held = data_of(asked)
    shape = asked.model.layout().size if is_common else (len(SIZES), asked.model.layout().size)
    weights = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    sums = by_client(asked, weights, data, held)
    for client, own in enumerate(sums):
        part = slice(held.starts[client], held.starts[client + 1])
        mine = weights if is_common else weights[client]
        if part.start == part.stop:
            assert not own.any()
            continue
        expected = evaluate(asked.model, asked.training.loss, mine, Dataset(data.x[part], data.y[part]))
        np.testing.assert_allclose(own, expected.sums, rtol=1e-5, atol=1e-6)


def test_what_is_not_finite_stays_with_its_client() -> None:
    asked = JOBS["classes"]
    data, held = data_of(asked)
    weights = np.zeros((len(SIZES), asked.model.layout().size), np.float32)
    weights[2] = np.nan
    is_finite = np.isfinite(by_client(asked, weights, data, held)).all(axis=1)
    assert np.flatnonzero(~is_finite).tolist() == [2]


def test_mean_losses_are_those_of_each_client() -> None:
    asked = JOBS["classes"]
    data, held = data_of(asked)
    sizes = SIZES[SIZES > 0]
    samples = Samples(held.rows, offsets(sizes))
    weights = np.random.default_rng(6).normal(size=asked.model.layout().size).astype(np.float32)
    found = mean_losses(asked, weights, data, samples)
    for client in range(len(sizes)):
        part = slice(samples.starts[client], samples.starts[client + 1])
        expected = mean_loss(asked.model, "cross_entropy", weights, Dataset(data.x[part], data.y[part]))
        assert found[client] == pytest.approx(expected, rel=1e-5)
