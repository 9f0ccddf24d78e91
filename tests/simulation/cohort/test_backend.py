"""A whole simulation with the other backends: the figures of numpy's, to rounding."""

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import fedloom
from fedloom.command import main
from fedloom.job import load_job
from simulation.cohort.kernels import Choice
from simulation.virtual import backend_of, federation

JOB = """
name = "digits"
[model]
inputs = 64
outputs = 10
hidden = [16]
[data]
features = ["x"]
target = "y"
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
[training]
loss = "cross_entropy"
batch_size = 16
[rounds]
count = 3
devices = 20
cohort = 0.5
[simulation]
dataset = "digits"
clients = 20
[simulation.partition]
method = "dirichlet"
alpha = 0.5
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.toml"
    path.write_text(JOB)
    return path


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_all_simulate_what_numpy_does(backend: Choice, job: Path) -> None:
    numpy, other = (fedloom.simulate(job, backend=each, workers=1) for each in ("numpy", backend))
    np.testing.assert_allclose(numpy.series("loss"), other.series("loss"), rtol=1e-5)
    assert numpy.series("loss")[-1] < 0.9 * numpy.series("loss")[0]


def test_the_compiled_kernel_is_chosen_for_long_runs(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = load_job(job)
    long = msgspec.structs.replace(short, rounds=msgspec.structs.replace(short.rounds, count=1_000_000))
    assert federation(short, job).lead.endswith("weights")
    assert "compiled" in federation(long, job).lead
    narrow = msgspec.structs.replace(long, model=msgspec.structs.replace(long.model, outputs=1, hidden=(1,)))
    assert backend_of("auto", narrow, federation(long, job).population) == "numpy"
    monkeypatch.setitem(sys.modules, "numba", None)
    assert federation(long, job).lead.endswith("weights")


def test_numpy_is_chosen_where_numba_is_too_old_for_it(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numba.py").write_text('raise ImportError("Numba needs NumPy 2.0 or less")')
    monkeypatch.syspath_prepend(tmp_path)
    for name in [each for each in sys.modules if each == "numba" or each.startswith("simulation.cohort.compiled")]:
        monkeypatch.delitem(sys.modules, name)
    short = load_job(job)
    long = msgspec.structs.replace(short, rounds=msgspec.structs.replace(short.rounds, count=1_000_000))
    assert federation(long, job).lead.endswith("weights")


@pytest.mark.parametrize(("backend", "extra"), [("numba", "sim"), ("torch", "torch")])
def test_a_backend_that_is_missing_is_told_at_once(
    backend: Choice, extra: str, job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, backend, None)
    assert main(["simulate", str(job), "--backend", backend]) == 2
    assert f"{backend} is not installed; run: pip install 'fedloom[{extra}]'" in capsys.readouterr().err


def test_processes_have_no_backend(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(job), "--engine", "processes", "--backend", "torch"]) == 2
    assert "--backend: is of engines cohort and ray" in capsys.readouterr().err
