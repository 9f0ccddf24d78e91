"""What fusing costs: seconds and memory of each rule beside flwr's, and how long reading the same bytes once takes.

python benchmarks/fusion.py [--updates 100,1000] [--weights 100000,1000000] [--rules fedavg,krum] [--json FILE]
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import environments
import report
from environments import HERE, PROJECT
from fusion_case import READING, Case
from processes import Failed
from report import Row

import strategies

ROBUST = ("median", "trimmed_mean", "krum", "bulyan")
TOLD = ("trimmed_mean", "krum", "bulyan")
"""Rules that are told how many attackers to expect."""
SHARE_OF_ATTACKERS = 0.1
SHARE_OF_FLOOR = 0.8
TIMES_PEER = {"fedavg": 3.0, "median": 8.0, "trimmed_mean": 8.0, "krum": 5.0, "bulyan": 5.0}
"""How many times as fast as flwr each is meant to be."""
TIMES_LESS_MEMORY = 5.0
"""And with how much less memory a robust rule, its updates in the spool."""
PATIENCE_S = 300.0


class Cost(NamedTuple):
    """Of a case."""

    seconds: float
    added_mib: float
    """Resident memory at its highest, beyond what was there with the updates."""
    whole_mib: float
    """The same, beyond what was there without them."""
    floors: dict[str, float]
    """Seconds that no fusion can do without."""


def cases(rules: list[str], counts: list[int], sizes: list[int]) -> Iterator[Case]:
    """From memory, which is where flwr has them, and from the spool."""
    for rule in rules:
        for source in ("memory", "spool"):
            for weights in sizes:
                for updates in counts:
                    attackers = int(SHARE_OF_ATTACKERS * updates) if rule in TOLD else 0
                    yield Case(rule, source, updates, weights, attackers)


def measure(python: Path, script: str, case: Case) -> Cost | None:
    """In a fresh process; None where it takes longer than PATIENCE_S.

    Raises:
        Failed: it has ended without figures.
    """
    command = [str(python), str(HERE / script), *case.arguments()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S, cwd=PROJECT)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise Failed(f"{script} {' '.join(case.arguments())}: {done.stderr.strip()}")
    return Cost(**json.loads(done.stdout))


def rows(case: Case, ours: Cost | None, peer: Cost | None, has_peer: bool) -> list[Row]:
    """Of one case."""
    name = f"{case.rule}, {case.source}, {case.updates:,} × {case.weights:,}"
    if ours is None:
        return [Row(name, "seconds", PATIENCE_S, note="ours took longer")]
    aim = ours.floors[READING] / SHARE_OF_FLOOR if case.rule == "fedavg" else None
    if peer and case.source == "memory":
        aim = min(aim or math.inf, peer.seconds / TIMES_PEER[case.rule])
    is_small = peer and case.source == "spool" and case.rule != "fedavg"
    most_mib = peer.whole_mib / TIMES_LESS_MEMORY if peer and is_small else None
    note = f"> {PATIENCE_S:.0f} s" if has_peer and peer is None else ""
    return [
        Row(name, "seconds", ours.seconds, peer.seconds if peer else None, aim, note),
        *(Row(name, floor, seconds) for floor, seconds in ours.floors.items()),
        Row(name, "memory beyond the updates, MiB", ours.added_mib, peer.added_mib if peer else None),
        Row(name, "memory with the updates, MiB", ours.whole_mib, peer.whole_mib if peer else None, most_mib),
    ]


def main() -> int:
    """Exit status 1 if a case failed; a missed aim is a finding, not a failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    known = [rule for rule in ("fedavg", *ROBUST) if rule in strategies.names()]
    parser.add_argument("--updates", type=_numbers, default=[100, 1000], help="of a round (default: 100,1000)")
    parser.add_argument("--weights", type=_numbers, default=[100_000, 1_000_000], help="(default: 100000,1000000)")
    parser.add_argument(
        "--rules", type=lambda text: text.split(","), default=known, help=f"(default: {','.join(known)})"
    )
    environments.add_options(parser)
    report.add_option(parser)
    options = parser.parse_args()
    environments.prepare()
    python, peer_python = Path(sys.executable), environments.peer_python(options)
    print(environments.headline(python, peer_python))
    found: list[Row] = []
    try:
        for case in cases(options.rules, options.updates, options.weights):
            ours = measure(python, "fusion_ours.py", case)
            peer = measure(peer_python, "fusion_peer.py", case) if peer_python else None
            found += rows(case, ours, peer, peer_python is not None)
    except Failed as error:
        print(f"fusion: {error}", file=sys.stderr)
        return 1
    finally:
        report.publish(found, options.json)
    return 0


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
