"""A personal job on real processes, one of them killed: both figures, one model for all, and one more for each."""

import signal

import numpy as np
import pytest

from aggregator.notices import RoundClosed
from fedloom.learning.model_file import load
from simulation.processes import LocalFleet

JOB = """
name = "blobs"
[model]
inputs = 2
hidden = [8]
outputs = 3
[data]
features = ["a", "b"]
target = "y"
classes = ["u", "v", "w"]
[training]
loss = "cross_entropy"
learning_rate = 0.2
local_epochs = 4
[rounds]
count = 12
devices = 3
[stopping]
metric = "personal_accuracy"
[personal]
method = "head"
"""
DEVICES = 3


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(JOB)
    return path


@pytest.fixture
def sources(tmp_path):
    """Three blobs; each device calls them by names that are its own."""
    paths = []
    for device in range(DEVICES):
        rng = np.random.default_rng(device)
        blob = rng.integers(0, 3, 150)
        x = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])[blob] + rng.normal(scale=0.4, size=(150, 2))
        rows = (f"{a:.4f},{b:.4f},{'uvw'[(each + device) % 3]}\n" for (a, b), each in zip(x, blob, strict=True))
        paths.append(tmp_path / f"data-{device}.csv")
        paths[-1].write_text("a,b,y\n" + "".join(rows))
    return paths


def test_each_device_ends_with_a_head_of_its_own_on_the_base_of_all(tmp_path, job, sources):
    closed = []
    with LocalFleet(tmp_path / "fleet", job, sources) as fleet:
        for notice in fleet.notices(patience_s=60):
            if isinstance(notice, RoundClosed) and notice.metrics:
                closed.append(notice)
                if len(closed) == 4:
                    fleet.restart_device(1, signal.SIGKILL)
        fleet.wait()
        states = sorted(fleet.directory.glob("device-*/state"))
    assert len(closed) == 13
    first, last = closed[0].metrics, closed[-1].metrics
    assert first["personal_accuracy"] == first["accuracy"]
    assert last["accuracy"] < 0.6
    assert last["personal_accuracy"] > 0.9
    shared = 2 * 8 + 8
    finals = [load(each / "model.fedloom") for each in states]
    own = [load(each / "personal.fedloom") for each in states]
    assert len(states) == DEVICES
    assert len({each.weights.tobytes() for each in finals}) == 1
    assert {each.weights[:shared].tobytes() for each in own} == {finals[0].weights[:shared].tobytes()}
    assert len({each.weights[shared:].tobytes() for each in own}) == DEVICES
    assert {each.meta["run"] for each in own} == {finals[0].meta["run"]}
