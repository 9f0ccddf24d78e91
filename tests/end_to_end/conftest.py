"""Whole fleets of real processes."""

import importlib.util
from pathlib import Path

import pytest

from fedloom.learning.model_file import load
from simulation.history import History, record
from simulation.processes import LocalFleet

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def examples():
    return ROOT / "examples"


@pytest.fixture
def make_data(examples, tmp_path):
    """Run an example's make_data.py; returns the files."""

    def make(name, **options):
        path = examples / name / "make_data.py"
        spec = importlib.util.spec_from_file_location(f"{name}_data", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.make(tmp_path / "data", **options)

    return make


@pytest.fixture
def run_fleet(tmp_path):
    """Run a job to its end on real processes; returns the history and the final model."""

    def run(job, sources, broker="auto"):
        history = History()
        with LocalFleet(tmp_path / "fleet", job, sources, broker) as fleet:
            for _ in record(fleet.notices(patience_s=30), history):
                pass
            fleet.wait()
        return history, load(Path(history.model_path))

    return run
