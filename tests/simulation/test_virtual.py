"""From a job's file to a federation of virtual clients, and to the processes that do its work."""

from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fedloom.errors import ConfigError, DataError, InputError
from fedloom.job import Job, load_job
from simulation import virtual
from simulation.cohort.crew import OneHand
from simulation.cohort.hands import Hands
from simulation.population.build import build
from simulation.virtual import crew, federation

JOB = """
name = "line"
[model]
inputs = 1
outputs = 1
[data]
features = ["x"]
target = "y"
[training]
loss = "mse"
learning_rate = 0.1
[rounds]
count = 20
devices = 3
[strategy]
name = "{strategy}"
"""


@pytest.fixture
def job_path(tmp_path: Path) -> Path:
    """A job with three clients' files beside it."""
    (tmp_path / "data").mkdir()
    for client in range(3):
        write(tmp_path / "data" / f"{client}.csv", client)
    path = tmp_path / "job.toml"
    path.write_text(JOB.format(strategy="fedavg"))
    return path


def write(path: Path, seed: int) -> None:
    x = np.random.default_rng(seed).uniform(-1.0, 1.0, 40)
    np.savetxt(path, np.column_stack((x, 2.0 * x + 1.0)), delimiter=",", header="x,y", comments="")


def last_loss(job: Job, path: Path, **given: Path) -> float:
    made = federation(job, path, workers=1, **given)
    for _ in made.run():
        pass
    return made.history.metrics[-1]["loss"]


def test_files_beside_the_job_are_the_clients(job_path: Path) -> None:
    made = federation(load_job(job_path), job_path, workers=1)
    assert made.population.clients == 3
    assert last_loss(load_job(job_path), job_path) < 0.1


def test_a_rule_that_needs_a_root_set_gets_one(job_path: Path, tmp_path: Path) -> None:
    job_path.write_text(JOB.format(strategy="fltrust"))
    job, checked = load_job(job_path), tmp_path / "checked.csv"
    with pytest.raises(ConfigError, match="the aggregator's own, which has no samples"):
        federation(job, job_path)
    with pytest.raises(DataError, match=r"checked\.csv"):
        federation(job, job_path, root_set=checked)
    write(checked, 7)
    assert last_loss(job, job_path, root_set=checked) < 0.1


def test_processes_are_started_where_there_is_work_for_them(job_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    job = load_job(job_path)
    people = build(job, job_path, job.seed)
    assert crew(job, people) is OneHand
    long = msgspec.structs.replace(job, rounds=msgspec.structs.replace(job.rounds, count=1_000_000_000))
    assert_hands(crew(long, people), 4)
    assert_hands(crew(job, people, workers=2), 2)
    assert crew(long, people, workers=1) is OneHand


def test_more_processes_than_a_machine_can_bear_are_refused(job_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual.os, "sched_getaffinity", lambda pid: {0, 1})
    job = load_job(job_path)
    assert_hands(crew(job, build(job, job_path, job.seed), workers=32), 32)
    with pytest.raises(InputError, match="--workers: 33 processes are too many for a machine of 2 cores; set it to 2"):
        federation(job, job_path, workers=33)


def assert_hands(made: object, workers: int) -> None:
    assert isinstance(made, partial)
    assert (made.func, made.keywords) == (Hands, {"workers": workers})
