"""`fedloom simulate --engine ray`: from the command to the process that is gone."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import pytest

import fedloom
from fedloom.command import main
from fedloom.learning.model_file import load
from simulation.cluster.connection import Cluster
from simulation.history import History

MARK = "FEDLOOM_TEST_MARK"
JOB = """
name = "digits"
seed = 3
[model]
inputs = 2
hidden = [16]
outputs = 2
[data]
features = ["x"]
target = "y"
classes = ["0", "1"]
[training]
loss = "cross_entropy"
learning_rate = 0.1
batch_size = 16
[rounds]
count = 3
devices = 10
[simulation]
dataset = "points.npz"
clients = 20
test_fraction = 0.2
"""


@pytest.fixture
def job_path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 400)
    np.savez(tmp_path / "points.npz", x=rng.normal(size=(400, 2)).astype(np.float32) + y[:, None], y=y)
    path = tmp_path / "job.toml"
    path.write_text(JOB)
    return path


def test_it_comes_to_what_engine_cohort_comes_to(
    cluster: Cluster, job_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for engine in ("cohort", "ray"):
        out = tmp_path / engine
        with pytest.raises(SystemExit) as ended:
            main(["simulate", str(job_path), "--engine", engine, "--workers", "1", "--json", "--out", str(out)])
        assert not ended.value.code
        said = capsys.readouterr()
        found[engine] = json.loads(said.out)["metrics"], load(out / "model.fedloom").weights.tobytes()
        assert History.from_json((out / "history.json").read_bytes()).engine == engine
    assert found["cohort"] == found["ray"]
    assert "1 workers on the Ray cluster that this program is connected to" in said.err


def test_it_does_from_python(cluster: Cluster, job_path: Path) -> None:
    alone, there = (fedloom.simulate(job_path, engine=engine) for engine in ("cohort", "ray"))
    assert there.metrics == alone.metrics
    assert there.engine == "ray"


@pytest.mark.slow
def test_an_interrupt_leaves_nothing_behind_after_a_loss_that_is_told(job_path: Path, tmp_path: Path) -> None:
    place = tmp_path / "t"
    place.mkdir()
    command = [sys.executable, "-m", "fedloom.command", "simulate", str(job_path), "--engine", "ray", "--workers", "1"]
    command += ["--rounds", "1000000", "--out", str(tmp_path / "out")]
    environment = os.environ | {"TMPDIR": str(place), "PYTHONPATH": os.pathsep.join(sys.path), MARK: str(tmp_path)}
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # tests in a background have it ignored
    )
    try:
        os.kill(worker_of(str(tmp_path)), signal.SIGKILL)
        told = first_line(child.stderr)
        os.killpg(child.pid, signal.SIGINT)
        out, said = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 130, said
    assert out.splitlines()[0] == "1 workers on a Ray cluster of this machine alone"
    assert "Ray" not in out.partition("\n")[2]
    assert told.startswith("worker.lost again=1: ")
    assert said == ""
    assert marked(str(tmp_path)) == []
    assert not list(place.iterdir())


def worker_of(mark: str) -> int:
    deadline_s = time.monotonic() + 60.0
    while time.monotonic() < deadline_s:
        for pid, title in marked(mark):
            if title.startswith("ray::Hand"):
                return pid
        time.sleep(0.05)
    raise AssertionError("there is no worker")


def first_line(stream: IO[str] | None) -> str:
    assert stream is not None
    assert select.select([stream], [], [], 60.0)[0], "nothing is said"
    return stream.readline()


def marked(mark: str) -> list[tuple[int, str]]:
    """Processes with this mark in their environment, and what they call themselves; the dead have no environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environment, title = (entry / "environ").read_bytes(), (entry / "cmdline").read_text()
            except OSError:
                continue
            if f"{MARK}={mark}".encode() in environment.split(b"\0"):
                found.append((int(entry.name), title))
    return found
