"""The figures of each client are those of the model on its own hold-out, and together they are the federation's."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from fedloom.job import load_job
from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate
from fedloom.learning.personal import Personal
from simulation import spread
from simulation.spread import client_figures
from simulation.virtual import federation

JOB = Path(__file__).parents[2] / "examples" / "notebook" / "job.toml"


@pytest.fixture(scope="module")
def made():
    """The federation of the notebook after two rounds, with an input layer that standardises."""
    job = load_job(JOB)
    job = msgspec.structs.replace(
        job,
        rounds=msgspec.structs.replace(job.rounds, count=2),
        data=msgspec.structs.replace(job.data, standardise=True),
    )
    made = federation(job, JOB, workers=1)
    for _ in made.run():
        pass
    return job, made


def held_by(made, client: int) -> Dataset:
    pool, rows = made.population.pool, made.population.holdout(np.array([client])).rows
    return Dataset(made.model.standardiser.apply(pool.x[rows]), pool.y[rows])


def test_each_client_s_figures_are_those_of_its_own_hold_out(made):
    job, federated = made
    figures = client_figures(job, federated.population, federated.model)
    held = [data for client in range(50) if (data := held_by(federated, client)).samples]
    assert len(held) > 40
    summaries = [
        evaluate(job.model, job.training.loss, federated.model.weights, data, job.training.huber_delta).summary()
        for data in held
    ]
    assert figures["accuracy"] == pytest.approx([each["accuracy"] for each in summaries])
    assert figures["loss"] == pytest.approx([each["loss"] for each in summaries])
    last = federated.history.metrics[-1]
    sizes = [data.samples for data in held]
    assert np.average(figures["accuracy"], weights=sizes) == pytest.approx(last["accuracy"])
    assert sum(sizes) == last["samples"]


def test_of_many_clients_an_even_choice_is_asked(made, monkeypatch):
    job, federated = made
    everybody = client_figures(job, federated.population, federated.model)["loss"]
    monkeypatch.setattr(spread, "MAX_CLIENTS", 5)
    asked = client_figures(job, federated.population, federated.model)["loss"]
    assert 1 < len(asked) <= 5
    assert {round(loss, 4) for loss in asked} < {round(loss, 4) for loss in everybody}  # a product more or less


def test_nobody_is_asked_who_cannot_tell(made):
    job, federated = made
    holdout = msgspec.structs.replace(job.data.holdout, fraction=0.0)
    blind = msgspec.structs.replace(job, data=msgspec.structs.replace(job.data, holdout=holdout))
    heads = msgspec.structs.replace(job, personal=Personal("head"))
    for other in (blind, heads):
        assert client_figures(other, federated.population, federated.model) == {}
