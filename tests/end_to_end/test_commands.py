"""The commands that a newcomer runs first, in a process of their own."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from fedloom.learning.model_file import load

pytestmark = pytest.mark.slow


def fedloom(*arguments, cwd):
    command = [sys.executable, "-m", "fedloom.command", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)


def test_simulate_prints_its_outcome_for_programs(examples, make_data, tmp_path):
    sources = make_data("line", devices=5, seed=0)
    arguments = ("--data", str(sources[0].parent), "--out", "run", "--json")
    done = fedloom("simulate", str(examples / "line" / "job.toml"), *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["rounds"] == len(outcome["seconds"]) == 40
    assert outcome["metrics"]["r2"] > 0.98
    assert load(tmp_path / "run" / outcome["model"]).spec.inputs == 1
    assert "5 of 5 devices ready" in done.stderr


def test_simulate_gives_the_aggregator_a_root_set(examples, make_data, tmp_path):
    *sources, root_set = make_data("line", devices=5, seed=0)
    job = (examples / "line" / "job.toml").read_text().replace("count = 40\ndevices = 5", "count = 2\ndevices = 4")
    (tmp_path / "job.toml").write_text(job + '[strategy]\nname = "fltrust"\n')
    root_set.rename(tmp_path / "root.csv")
    arguments = ("--data", str(sources[0].parent), "--root-set", "root.csv", "--out", "run", "--json")
    done = fedloom("simulate", "job.toml", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    verified = fedloom("round", "verify", "line", "2", "--config", "run/aggregator.toml", cwd=tmp_path)
    assert verified.returncode == 0, verified  # it has the root set as well, and fuses the same bits


def test_simulate_says_where_data_comes_from(examples, tmp_path):
    done = fedloom("simulate", str(examples / "line" / "job.toml"), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "name the folder with --data" in done.stderr


@pytest.mark.parametrize("dataset", ["watch", "digits"])
def test_the_demo_keeps_its_promises(tmp_path, dataset):
    done = fedloom("demo", "--dataset", dataset, "--out", "demo", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["met"] == [True, True, True]
    accuracy = outcome["accuracy"]
    assert accuracy["federated"][0] >= accuracy["alone, mean"][0] + 0.10
    left = {path.name for path in (tmp_path / "demo").iterdir()}
    assert left >= {"report.html", "accuracy.svg", "comparison.svg", "model.onnx", "model.fedloom", "job.toml"}
    model = load(tmp_path / "demo" / "model.fedloom")
    x = np.random.default_rng(0).normal(size=(5, model.spec.inputs)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "demo" / "model.onnx")
    (probabilities,) = session.run(["probabilities"], {"features": x})
    np.testing.assert_allclose(probabilities, model.outputs(x), atol=1e-5)
