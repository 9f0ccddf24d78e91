"""Ctrl-C, which a terminal sends to all processes of a command: they end, without a traceback; what is done is kept."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from simulation.history import History

JOB = """
name = "points"
[model]
inputs = 2
outputs = 2
[data]
features = ["x"]
target = "y"
classes = ["0", "1"]
[training]
loss = "cross_entropy"
[rounds]
count = 1000000
[simulation]
dataset = "points.npz"
clients = 4
[sweep]
"rounds.count" = [1, 1000000]
"""
TIMEOUT_S = 60.0


class Command:
    """In a process group of its own, as a shell starts it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fedloom.command", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # tests in a background have it ignored
        )

    def members(self) -> dict[Path, str]:
        """How the living processes of the group were called."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                called = (entry / "cmdline").read_text()
            except OSError:  # it is no process, or has just gone
                continue
            if int(group) == self.process.pid and state not in "ZX":
                found[entry] = called
        return found

    def await_start(self, name: str) -> None:
        """Of such a member: it imports numpy, and has more to import then."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not any(_has_numpy(entry) for entry, called in self.members().items() if name in called):
            assert time.monotonic() < deadline_s, f"there is no {name}"
            assert self.process.poll() is None, self.process.communicate()

    def await_line(self, text: str) -> None:
        assert self.process.stdout
        assert any(text in line for line in self.process.stdout)

    def interrupt(self) -> str:
        """What it says then."""
        os.killpg(self.process.pid, signal.SIGINT)
        said, problems = self.process.communicate(timeout=TIMEOUT_S)
        assert (self.process.returncode, problems) == (130, "")
        deadline_s = time.monotonic() + TIMEOUT_S
        while left := self.members():
            assert time.monotonic() < deadline_s, left
            time.sleep(0.005)
        return said


def _has_numpy(entry: Path) -> bool:
    try:
        return "_multiarray_umath" in (entry / "maps").read_text()
    except OSError:
        return False


@pytest.fixture
def start(tmp_path, request):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "points.npz", x=rng.normal(size=(80, 2)), y=np.arange(80) % 2)
    (tmp_path / "job.toml").write_text(JOB)

    def start(*arguments: str) -> Command:
        command = Command(tmp_path, *arguments)
        request.addfinalizer(lambda: command.process.poll() is None and os.killpg(command.process.pid, signal.SIGKILL))
        return command

    return start


def test_a_comparison_keeps_the_runs_that_are_done(start, tmp_path) -> None:
    command = start("compare", "job.toml", "--workers", "2", "--cache", "kept", "--out", "report")
    command.await_line("1 of 2: points (rounds.count 1): ")
    assert "interrupted: 1 runs are left; the same command does these alone" in command.interrupt()
    (kept,) = (tmp_path / "kept").iterdir()
    assert History.from_json(kept.read_bytes()).rounds == [0, 1]
    assert (tmp_path / "report" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "worker"),
    [
        (["compare", "job.toml", "--workers", "2", "--no-cache"], "spawn_main"),
        (["simulate", "job.toml", "--workers", "2"], "simulation.cohort.hand"),
        pytest.param(["simulate", "job.toml", "--engine", "processes"], "edge_client", marks=pytest.mark.broker),
    ],
)
def test_workers_that_are_only_starting_end_as_quietly(start, arguments, worker) -> None:
    command = start(*arguments)
    command.await_start(worker)
    command.interrupt()


def test_a_worker_whose_answer_nobody_waits_for_ends_quietly(start) -> None:
    command = start("simulate", "job.toml", "--workers", "2")
    command.await_line("round ")
    command.interrupt()
