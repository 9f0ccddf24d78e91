"""A run can be repeated bit for bit, whatever order messages came in and however often a process was killed."""

import signal

import pytest

from aggregator.notices import RoundClosed
from fedloom.learning.model_file import load
from simulation.processes import LocalFleet


@pytest.fixture
def sources(make_data):
    return make_data("regression", devices=4, seed=3)


@pytest.fixture
def job(examples, tmp_path):
    text = (examples / "regression" / "job.toml").read_text()
    text = text.replace("devices = 5", "devices = 4").replace("batch_size = 0", "batch_size = 32")
    path = tmp_path / "job.toml"
    path.write_text(text)
    return path


def final_weights(directory, job, sources, on_notice=lambda fleet, notice: None):
    with LocalFleet(directory, job, sources) as fleet:
        for notice in fleet.notices(patience_s=40):
            on_notice(fleet, notice)
        fleet.wait()
        (path,) = (directory / "device-01" / "state").glob("model.fedloom")
    return load(path).weights.tobytes()


def test_two_runs_and_one_with_a_device_killed_give_the_same_bits(tmp_path, job, sources):
    first = final_weights(tmp_path / "first", job, sources)
    assert final_weights(tmp_path / "second", job, sources) == first

    killed = []

    def kill_a_device(fleet, notice):
        if isinstance(notice, RoundClosed) and notice.round == 3 and not killed:
            fleet.restart_device(1, signal.SIGKILL)
            killed.append(notice.round)

    assert final_weights(tmp_path / "killed", job, sources, kill_a_device) == first
    assert killed
