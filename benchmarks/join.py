"""Joining a federation: one device as a process of its own, and hundreds at once; every device with keys on disk.

python benchmarks/join.py [--devices N] [--repeats N] [--json FILE] [--skip-peer]

There is no peer: Flower lets in whoever reaches its port, or whose public key somebody has copied to the server before;
the other federated frameworks that we know likewise, or they expect certificates to be made and handed out by hand.
"""

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import environments
import ours
import report
from processes import Failed
from report import Row
from work import SOFTMAX, Work

from aggregator.enrolment import tokens
from aggregator.store import open_store
from edge_client.join import Joiner
from edge_client.join_directory import JoinDirectory
from fedloom.trust.tokens import read_token

AIM_ONE_S = 1.0
PATIENCE_S = 300.0
CLIENT_PROCESSES = 2
"""They hold the devices of the crowd, a thread each: as many Python processes as devices would need 15 GB."""
NO_PEER = "no equivalent"


class Crowd:
    """Devices that join at the same moment: real ones, but for sharing processes."""

    def __init__(self, directory: Path, made: Sequence[str]) -> None:
        self._directory = directory
        self._made = made

    def join(self) -> tuple[float, list[float]]:
        """Seconds until the last one was in, and what each of them took."""
        spawn = multiprocessing.get_context("spawn")
        go, found = spawn.Barrier(CLIENT_PROCESSES + 1), spawn.Queue()
        workers = []
        for number in range(CLIENT_PROCESSES):
            share = list(enumerate(self._made))[number::CLIENT_PROCESSES]
            worker = spawn.Process(target=_join_all, args=(self._directory, share, go, found), daemon=True)
            worker.start()
            workers.append(worker)
        go.wait(PATIENCE_S)
        began_s = time.monotonic()
        results = [found.get(timeout=PATIENCE_S) for _ in workers]
        took_s = time.monotonic() - began_s
        for worker in workers:
            worker.join()
        problems = [text for _, errors in results for text in errors]
        if problems:
            raise Failed(f"{len(problems)} of {len(self._made)} devices did not join: {problems[0]}")
        return took_s, [seconds for times, _ in results for seconds in times]


def _join_all(directory: Path, share: list[tuple[int, str]], go: "threading.Barrier", found) -> None:  # type: ignore[no-untyped-def]
    """In a process of its own: join with each of these tokens, all at once."""
    times: list[float] = []
    errors: list[str] = []

    def join(number: int, text: str) -> None:
        began_s = time.monotonic()
        device = JoinDirectory(directory / f"device-{number}")
        try:
            Joiner(read_token(text), device, lambda _: None).join(f"device-{number}", "data.csv", PATIENCE_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, the benchmark says so
            errors.append(f"{type(error).__name__}: {error}")
        times.append(time.monotonic() - began_s)

    with ThreadPoolExecutor(len(share)) as pool:
        go.wait(PATIENCE_S)
        list(pool.map(join, *zip(*share, strict=True)))
    found.put((times, errors))


def new_tokens(config: Path, count: int) -> list[str]:
    """Made by the operator's command, while the aggregator runs."""
    command = [sys.executable, "-m", "fedloom.command", "token", "new", "--config", str(config), "--count", str(count)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def join_one(directory: Path, text: str) -> float:
    """Seconds from exec of `fedloom-edge join` to its end."""
    began_s = time.monotonic()
    command = [sys.executable, "-m", "edge_client", "join", "-", "--dir", str(directory), "--timeout", "60"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"fedloom-edge join: {done.stderr.strip()}")
    return time.monotonic() - began_s


def amiss(state: Path, count: int) -> int:
    """Devices that the store lacks, or has too many, of so many that say that they have joined."""
    with open_store(state) as store:
        devices = len(store.devices())
        joined = sum(entry.state == "joined" for entry in tokens.entries(store, time.time()))
    return abs(devices - count) + abs(joined - count)


def measure(scratch: Path, devices: int, repeats: int) -> list[Row]:
    """Both cases, against one aggregator."""
    config = scratch / "ours" / "aggregator.toml"
    with ours.Deployment(scratch / "ours", sys.executable, []) as deployment:
        deployment.start_run(Work(SOFTMAX, rounds=1, devices=2 * devices + repeats + 1))
        one = [join_one(scratch / f"one-{number}", text) for number, text in enumerate(new_tokens(config, repeats + 1))]
        took_s, each_s = Crowd(scratch, new_tokens(config, devices)).join()
        wrong = amiss(scratch / "ours" / "aggregator", devices + repeats + 1)
    one = one[1:]  # the first one waits until the aggregator has found that it is alone
    case = f"{devices} devices at once"
    return [
        Row("one device", "median, s", statistics.median(one), aim=AIM_ONE_S, note=NO_PEER),
        Row("one device", "most, s", max(one), note=NO_PEER),
        Row(case, "all are in, s", took_s, note=NO_PEER),
        Row(case, "a device, median, s", statistics.median(each_s), note=NO_PEER),
        Row(case, "a device, most, s", max(each_s), note=NO_PEER),
        Row(case, "lost or let in twice", wrong, aim=0, note=NO_PEER),
    ]


def main() -> int:
    """Exit status 1 if a device did not join, or joined twice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--devices", type=int, default=500, help="that join at once (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="single joins (default: %(default)s)")
    environments.add_options(parser)
    report.add_option(parser)
    options = parser.parse_args()
    environments.prepare()
    print(environments.headline(Path(sys.executable), None))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="fedloom-join-", ignore_cleanup_errors=True) as name:
        try:
            rows = measure(Path(name), options.devices, options.repeats)
        except Failed as error:
            print(f"join: {error}", file=sys.stderr)
            return 1
    report.publish(rows, options.json, peer="peer")
    return 0 if rows[-1].met else 1


if __name__ == "__main__":
    sys.exit(main())
