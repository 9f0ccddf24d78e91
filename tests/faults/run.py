"""Runs many seeds of the simulation on all cores: `make faults SEEDS=10000 SEED_START=1`.

    python tests/faults/run.py --seeds 1000 --start 1
    python tests/faults/run.py --seeds 1 --start 4711 --verbose     the story of one seed
    python tests/faults/run.py --seeds 10000 --record               for docs/faults.md

Ends with status 1 at the first seed for which an invariant does not hold, and says how to see its story.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from sim.world import play

RECORD = Path(__file__).parent / "record.json"
PROGRESS_S = 5.0


class Played(NamedTuple):
    """What came of a seed."""

    seed: int
    problem: str
    counts: Counter[str]


def try_seed(seed: int) -> Played:
    """Play a seed; whatever it raises is a problem."""
    try:
        return Played(seed, "", play(seed).story.counts)
    except Exception as error:
        return Played(seed, f"{type(error).__name__}: {error}", Counter())


def main() -> int:
    """Play them all; returns the exit status."""
    arguments = _arguments()
    if arguments.verbose:
        return _tell(arguments.start)
    counts: Counter[str] = Counter()
    began_s = shown_s = time.monotonic()
    with Pool() as pool:
        seeds = range(arguments.start, arguments.start + arguments.seeds)
        for done, played in enumerate(pool.imap_unordered(try_seed, seeds, chunksize=4), 1):
            if played.problem:
                pool.terminate()
                print(f"\nseed {played.seed}: {played.problem}\nIts story: {_command(played.seed)}")
                return 1
            counts += played.counts
            if time.monotonic() - shown_s > PROGRESS_S or done == arguments.seeds:
                shown_s = time.monotonic()
                print(f"{done} of {arguments.seeds} seeds, {shown_s - began_s:.0f} s, no violation", flush=True)
    if arguments.record:
        record = {"seeds": arguments.seeds, "start": arguments.start, "counts": dict(sorted(counts.items()))}
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def _tell(seed: int) -> int:
    try:
        world = play(seed)
    except Exception as error:
        print("\n".join(error.__notes__))
        print(f"\nseed {seed}: {type(error).__name__}: {error}")
        return 1
    print("\n".join(world.story.lines()))
    return 0


def _command(seed: int) -> str:
    return f"make faults SEEDS=1 SEED_START={seed} ARGS=--verbose"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--start", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="tell the story of the first seed")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}, from which docs/faults.md is made")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
