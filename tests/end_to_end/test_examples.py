"""Each example, as a user would run it: real broker, real aggregator, real daemons."""

import numpy as np
import pytest

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import prepare
from fedloom.job import load_job
from simulation.baselines import pool

pytestmark = pytest.mark.slow


def pooled(job_path, sources, part):
    """The devices' training data (part 0) or hold-outs (part 1) in one place."""
    job = load_job(job_path)
    return pool([prepare(SourceConfig(str(path)), job.data, job.training.loss, job.seed)[part] for path in sources])


def raw_coefficients(model):
    """β and intercept for raw features: the input layer folded into the weights."""
    weight, bias = model.spec.layout().views(model.weights)
    beta = weight[:, 0] / model.standardiser.scale
    return beta, float(bias[0] - beta @ model.standardiser.shift)


def least_squares(data):
    design = np.column_stack((data.x, np.ones(len(data.x)))).astype(np.float64)
    solution, *_ = np.linalg.lstsq(design, data.y[:, 0].astype(np.float64), rcond=None)
    return solution[:-1], solution[-1]


def test_line(examples, make_data, run_fleet):
    sources = make_data("line", devices=5, seed=0)
    history, model = run_fleet(examples / "line" / "job.toml", sources)
    beta, intercept = raw_coefficients(model)
    assert beta[0] == pytest.approx(2.0, abs=0.02)
    assert intercept == pytest.approx(1.0, abs=0.02)
    assert history.metrics[-1]["r2"] > 0.98


def test_regression(examples, make_data, run_fleet):
    sources = make_data("regression", devices=5, seed=0)
    job_path = examples / "regression" / "job.toml"
    history, model = run_fleet(job_path, sources)
    beta, intercept = raw_coefficients(model)
    expected_beta, expected_intercept = least_squares(pooled(job_path, sources, 0))
    np.testing.assert_allclose(beta, expected_beta, atol=0.01)
    assert intercept == pytest.approx(expected_intercept, abs=0.02)
    # The federation's loss is ½m: half the mean squared error over everybody's hold-out, exactly.
    data = pooled(job_path, sources, 1)
    error = data.x @ beta + intercept - data.y[:, 0]
    assert history.metrics[-1]["mse"] == pytest.approx(np.mean(error**2), rel=1e-3)
    assert history.metrics[-1]["loss"] == pytest.approx(np.mean(error**2) / 2, rel=1e-3)


def test_digits(examples, make_data, run_fleet):
    sources = make_data("digits_mlp", devices=5, seed=0)
    history, model = run_fleet(examples / "digits_mlp" / "job.toml", sources)
    assert model.spec.widths == (64, 128, 10)
    assert history.metrics[-1]["accuracy"] > 0.93


def test_watch_on_a_broker_from_pip_alone(examples, run_fleet, tmp_path):
    """Three wearers, ten rounds, amqtt (MQTT 3.1.1): what a machine without Mosquitto does."""
    text = (examples / "watch" / "job.toml").read_text()
    short = tmp_path / "short.toml"
    job = load_job(examples / "watch" / "job.toml")
    text = text.replace(f"count = {job.rounds.count}", "count = 10").replace(
        f"devices = {job.rounds.devices}", "devices = 3"
    )
    short.write_text(text)
    assert (load_job(short).rounds.count, load_job(short).rounds.devices) == (10, 3)
    sources = sorted((examples / "watch" / "data").glob("*.csv.gz"))[:3]
    history, _ = run_fleet(short, sources, "amqtt")
    assert history.rounds == list(range(11))
    assert history.metrics[-1]["accuracy"] > history.metrics[0]["accuracy"] + 0.3
