"""What one slow device costs: synchronous rounds beside an asynchronous job, on a fleet of real processes.

python benchmarks/asynchronous.py [--devices N] [--slower TIMES] [--json FILE]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import environments
import numpy as np
import report

from aggregator.notices import RoundClosed, RoundOpened, UpdateSeen
from fedloom.errors import FedloomError
from fedloom.wire.messages import Phase, Verdict
from simulation.processes import LocalFleet

SAMPLES = 200
ROUNDS = {"synchronous": 6, "asynchronous": 40}
JOB = """
name = "line"
[model]
inputs = 1
outputs = 1
[data]
features = ["x"]
target = "y"
standardise = false
[training]
loss = "mse"
batch_size = 1
learning_rate = 0.001
[rounds]
count = {rounds}
devices = {devices}
min_updates = 2
evaluate = 0.0
"""
BUFFER = """
[asynchronous]
buffer = {buffer}
max_staleness = 1000
[strategy]
name = "fedbuff"
"""


class Run(NamedTuple):
    """What came of a job."""

    each_ms: float
    """Wall time of the training rounds by the updates that they fused."""
    slow: int
    """Updates of the slow device that were fused."""
    staleness: int
    """The most that an update had."""


def run(directory: Path, kind: str, devices: int, sources: list[Path]) -> Run:
    """One job from its first training round's opening to its last one's end."""
    directory.mkdir()
    job = JOB.format(rounds=ROUNDS[kind], devices=devices)
    if kind == "asynchronous":
        job += BUFFER.format(buffer=devices // 2)
    (directory / "job.toml").write_text(job, encoding="utf-8")
    began_s, ended_s, fused, updates = 0.0, 0.0, 0, []
    with LocalFleet(directory / "fleet", directory / "job.toml", sources) as fleet:
        for notice in fleet.notices():
            match notice:
                case RoundOpened(phase=Phase.TRAIN):
                    began_s = began_s or time.monotonic()
                case UpdateSeen(verdict=Verdict.ACCEPTED):
                    updates.append(notice)
                case RoundClosed(phase=Phase.TRAIN, accepted=accepted):
                    ended_s, fused = time.monotonic(), fused + accepted
        fleet.wait()
    slow = sum(each.device == f"device-{devices:02}" for each in updates)
    return Run(1000.0 * (ended_s - began_s) / fused, slow, max(each.staleness for each in updates))


def make_data(directory: Path, devices: int, slower: int) -> list[Path]:
    """The last device has `slower` times as many samples, and trains as much longer."""
    sources = []
    for number in range(1, devices + 1):
        rng = np.random.default_rng(number)
        x = rng.uniform(-1.0, 1.0, SAMPLES * (slower if number == devices else 1))
        sources.append(directory / f"{number}.csv")
        table = np.column_stack((x, 2.0 * x + 1.0))
        np.savetxt(sources[-1], table, fmt="%.6f", delimiter=",", header="x,y", comments="")
    return sources


def main() -> int:
    """Exit status 1 if a fleet failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--devices", type=int, default=8, help="one of them slow (default: %(default)s)")
    parser.add_argument("--slower", type=int, default=200, help="times as many samples (default: %(default)s)")
    report.add_option(parser)
    options = parser.parse_args()
    print(environments.headline(Path(sys.executable), None))
    with tempfile.TemporaryDirectory(prefix="fedloom-asynchronous-", ignore_cleanup_errors=True) as name:
        sources = make_data(Path(name), options.devices, options.slower)
        try:
            found = {kind: run(Path(name) / kind, kind, options.devices, sources) for kind in ROUNDS}
        except FedloomError as error:
            print(f"asynchronous: {error}", file=sys.stderr)
            return 1
    us, them = found["asynchronous"], found["synchronous"]
    case = f"{options.devices} devices, one {options.slower} times slower"
    shares = f"{us.slow} in {ROUNDS['asynchronous']} buffers, {them.slow} in {ROUNDS['synchronous']} rounds"
    print(f"updates of the slow device: {shares}; staleness up to {us.staleness}")
    report.publish([report.Row(case, "a fused update, ms", us.each_ms, them.each_ms)], options.json, "synchronous")
    return 0


if __name__ == "__main__":
    sys.exit(main())
