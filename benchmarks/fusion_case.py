"""What both sides of `fusion.py` measure, each case in a process of its own."""

import argparse
import gc
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

RUNS = 3


class Case(NamedTuple):
    """Which updates are fused, and how."""

    rule: str
    """Its name here: see `fusion.RULES`."""
    source: str
    """memory: decoded float32. spool: a segment on the disk."""
    updates: int
    weights: int
    attackers: int
    """That a robust rule is told to expect."""

    def arguments(self) -> list[str]:
        """For the command line of a case."""
        return [str(value) for value in self]


def from_arguments(arguments: Sequence[str]) -> Case:
    """The other way round."""
    parser = argparse.ArgumentParser()
    for name, kind in Case.__annotations__.items():
        parser.add_argument(name, type=kind)
    return Case(**vars(parser.parse_args(arguments)))


def report(empty_mib: float, fuse: Callable[[], object], floor: Callable[[], object] | None = None) -> None:
    """Print what it costs as JSON: the best of RUNS, and the peak of the resident memory meanwhile.

    `empty_mib` is what was resident before there were updates.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before_mib = resident_mib()
    seconds = best_s(fuse, RUNS)
    peak_mib = resident_mib("VmHWM")
    found = {"seconds": seconds, "added_mib": peak_mib - before_mib, "whole_mib": peak_mib - empty_mib}
    if floor:
        found["floor_s"] = best_s(floor, RUNS)
    print(json.dumps(found))


def best_s(work: Callable[[], object], runs: int) -> float:
    """The least that it has taken."""
    least_s = float("inf")
    for _ in range(runs):
        began_s = time.perf_counter()
        work()
        least_s = min(least_s, time.perf_counter() - began_s)
    return least_s


def resident_mib(name: str = "VmRSS") -> float:
    """Now; VmHWM is the peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith(f"{name}:")).split()[1]) / 1024
