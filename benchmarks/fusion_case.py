"""What both sides of `fusion.py` measure, each case in a process of its own."""

import argparse
import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

RUNS = 3
READING = "reading once, s"
"""One pass over the bytes of all updates."""


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


def report(
    empty_mib: float, fuse: Callable[[], object], floors: Mapping[str, Callable[[], object]] = MappingProxyType({})
) -> None:
    """Print what it costs as JSON: the best of RUNS, and the peak of the resident memory meanwhile.

    `empty_mib` is what was resident before there were updates; `floors` are what no fusion can do without.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before_mib = resident_mib()
    seconds = best_s(fuse, RUNS)
    peak_mib = resident_mib("VmHWM")
    memory = {"added_mib": peak_mib - before_mib, "whole_mib": peak_mib - empty_mib}
    print(json.dumps({"seconds": seconds, **memory, "floors": {name: best_s(floors[name], RUNS) for name in floors}}))


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
