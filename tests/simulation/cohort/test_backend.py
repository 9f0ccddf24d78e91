"""A whole simulation with PyTorch's products: the figures of numpy's, to rounding."""

from pathlib import Path

import numpy as np
import pytest

import fedloom
from fedloom.command import main

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


def test_torch_simulates_what_numpy_does(job: Path) -> None:
    numpy, torch = (fedloom.simulate(job, backend=backend, workers=1) for backend in ("numpy", "torch"))
    np.testing.assert_allclose(numpy.series("loss"), torch.series("loss"), rtol=1e-5)
    assert numpy.series("loss")[-1] < 0.9 * numpy.series("loss")[0]


def test_processes_have_no_backend(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(job), "--engine", "processes", "--backend", "torch"]) == 2
    assert "--backend: is of engines cohort and ray" in capsys.readouterr().err
