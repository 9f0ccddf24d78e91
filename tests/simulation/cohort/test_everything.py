"""All strategies, encodings and personal models in a simulated job, each with each that it goes with."""

import numpy as np
import pytest
from federations import job, population, run

from fedloom.compression import Encoding
from fedloom.job import Job
from strategies.registry import BEFORE, COMPOSED, SERVERS, WHOLE

OPTIONS: dict[str, dict[str, object]] = {
    "bulyan": {"f": 1},
    "krum": {"f": 1},
    "multi_krum": {"f": 1},
    "trimmed_mean": {"f": 1},
    "qfedavg": {"client_learning_rate": 0.2},
}
OF_TRAINING = [name for name in (*COMPOSED, *WHOLE) if name not in ("fltrust", "fedbuff", "fedasync")]
ENCODINGS: dict[Encoding, dict[str, object]] = {
    "float32": {},
    "float16": {},
    "int8": {},
    "int4": {},
    "sign": {},
    "eden": {"bits": 2},
    "topk": {"share": 0.3},
}
PERSONAL: list[dict[str, object]] = [
    {"method": "head"},
    {"method": "ditto", "strength": 0.1, "epochs": 1},
    {"method": "fine_tune", "epochs": 2},
]


def of_strategy(name: str, **tables: object) -> Job:
    rounds = {"count": 3, "cohort": 0.5, "devices": 16}
    return job(strategy={"name": name, "options": OPTIONS.get(name, {})}, rounds=rounds, **tables)


def check(job: Job) -> None:
    """It runs, gives the same twice, and makes the model better."""
    people = population(16)
    first, second = run(job, people), run(job, people)
    assert first.model.weights.tobytes() == second.model.weights.tobytes()
    assert np.isfinite(first.model.weights).all()
    prefix = "personal_" if job.personal and job.personal.method == "head" else ""
    losses = [each[f"{prefix}loss"] for each in first.history.metrics]
    assert losses[-1] < losses[0], losses


@pytest.mark.parametrize("name", OF_TRAINING)
@pytest.mark.parametrize("encoding", ["float32", "int8"])
def test_strategies(name: str, encoding: Encoding) -> None:
    check(of_strategy(name, update={"encoding": encoding}))


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("before", BEFORE)
def test_parts_of_strategies(server: str, before: str) -> None:
    options = {"server_learning_rate": 0.03} if server in ("adagrad", "adam", "yogi") else {}
    check(job(strategy={"name": "fedavg", "server": server, "before": [before], "options": options}))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "feddyn"])
def test_encodings(encoding: Encoding, strategy: str) -> None:
    check(of_strategy(strategy, update={"encoding": encoding, **ENCODINGS[encoding]}))


@pytest.mark.parametrize("personal", PERSONAL, ids=lambda each: str(each["method"]))
@pytest.mark.parametrize("encoding", ["float32", "topk"])
@pytest.mark.parametrize("strategy", ["fedavg", "median"])
def test_personal_models(personal: dict[str, object], encoding: Encoding, strategy: str) -> None:
    check(of_strategy(strategy, personal=personal, update={"encoding": encoding, **ENCODINGS[encoding]}))


@pytest.mark.parametrize("rule", ["uniform", "samples", "class-balance", "power-of-choice", "oort"])
def test_rules_that_choose(rule: str) -> None:
    check(job(cohort={"name": rule}, rounds={"count": 3, "cohort": 0.5}))


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "nesterov", "adam"])
def test_optimisers(optimiser: str) -> None:
    check(job(training={"optimiser": optimiser, "learning_rate": 0.02}))
