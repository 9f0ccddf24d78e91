"""Memory, start-up time and installed size of the device daemon, beside flwr's SuperNode with a numpy ClientApp.

python benchmarks/footprint.py [--json FILE] [--repeats N] [--peer-python PATH | --skip-peer]
"""

import argparse
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import environments
import memory
import ours
import peer
import report
import synthetic
from processes import Failed
from side import Side
from work import SOFTMAX, TWO_NN, Work

SAMPLES = 600
SETTLE_S = 3.0
"""From the daemon's connection until it is taken for idle."""
START = Work(SOFTMAX, rounds=1, devices=1)
TRAINING = Work(TWO_NN, rounds=5, devices=2, epochs=5, batch_size=10)

Open = Callable[[Path], Side]


class Footprint(NamedTuple):
    """What was measured of one side."""

    idle: memory.Memory
    training: memory.Memory
    connected_s: float
    """From exec until the server knows the device."""
    task_s: float
    """From exec until the first task."""
    installed_mb: float


def take_memory(side: Side) -> tuple[memory.Memory, memory.Memory]:
    """Of the first device: idle, while the server waits for a second one; and the peak of the training that follows."""
    with side:
        side.start_run(TRAINING)
        device = side.start_device(0)
        side.await_connected()
        time.sleep(SETTLE_S)
        idle = memory.of_tree(device.process.pid)
        with memory.Peak(device.process.pid) as peak:
            side.start_device(1)
            side.await_done()
    return idle, peak.memory


def take_start(side: Side) -> tuple[float, float]:
    """Seconds from a device's exec until it is connected, and until its first task, which waits for it."""
    with side:
        side.start_run(START)
        device = side.start_device(0)
        connected_s = side.await_connected()
        return connected_s - device.started_s, side.await_task() - device.started_s


def measure(name: str, deploy: Open, python: Path, scratch: Path, repeats: int) -> Footprint:
    """All figures of one side; each deployment gets a directory of its own."""
    print(f"measuring {name}: memory, and {repeats} starts", file=sys.stderr)
    idle, training = take_memory(deploy(scratch / f"{name}-memory"))
    starts = [take_start(deploy(scratch / f"{name}-start-{number}")) for number in range(repeats)]
    connected_s, task_s = (statistics.median(times) for times in zip(*starts, strict=True))
    return Footprint(idle, training, connected_s, task_s, environments.installed_mb(python))


def rows(us: Footprint, them: Footprint | None) -> list[report.Row]:
    """With the aims."""
    return [
        report.Row(case, figure, pick(us), pick(them) if them else None, aim, "" if them else "skipped")
        for case, figure, pick, aim in _FIGURES
    ]


_FIGURES: list[tuple[str, str, Callable[[Footprint], float], float | None]] = [
    ("idle", "resident memory, MiB", lambda f: f.idle.resident, 48.0),
    ("idle", "proportional memory, MiB", lambda f: f.idle.proportional, None),
    (f"2NN on {SAMPLES} samples", "peak resident memory, MiB", lambda f: f.training.resident, 64.0),
    (f"2NN on {SAMPLES} samples", "peak proportional memory, MiB", lambda f: f.training.proportional, None),
    ("start", "exec to connected, s", lambda f: f.connected_s, None),
    ("start", "exec to first task, s", lambda f: f.task_s, 0.5),
    ("installed", "site-packages, MB", lambda f: f.installed_mb, 100.0),
]


def main() -> int:
    """Exit status 1 if a side failed; a missed aim is a finding, not a failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3, help="starts a side; their median counts (default: 3)")
    environments.add_options(parser)
    report.add_option(parser)
    options = parser.parse_args()
    environments.prepare()
    python = environments.device_python()
    theirs = environments.peer_python(options)
    print(environments.headline(python, theirs))
    with tempfile.TemporaryDirectory(prefix="fedloom-footprint-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        sources = [synthetic.write(scratch / f"{number}.npz", SAMPLES, number) for number in range(2)]
        try:
            open_ours = functools.partial(ours.Deployment, python=python, sources=sources, log_level="debug")
            us = measure("fedloom", open_ours, python, scratch, options.repeats)
            them = None
            if theirs:
                open_theirs = functools.partial(peer.Deployment, python=theirs, sources=sources)
                them = measure("flwr", open_theirs, theirs, scratch, options.repeats)
        except Failed as error:
            print(f"footprint: {error}", file=sys.stderr)
            return 1
    report.publish(rows(us, them), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
