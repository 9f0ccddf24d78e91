"""Simulated time to the same accuracy: FedBuff beside synchronous FedAvg, where devices differ in speed.

python benchmarks/fedbuff_time.py [--quick] [--seeds N] [--workers N] [--write DIRECTORY]

100 devices with scikit-learn's digits, dealt out by a Dirichlet distribution, all of them at work all the time. Speeds
are log-normal, from device to device and, less so, from round to round. Every method's learning rates are tuned for
each spread of speeds, by the median time over the seeds.
"""

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from fedbuff_page import HEAD
from rich.progress import Progress

from fedloom import config
from fedloom.job import Job, check_job
from simulation.cohort.crew import OneHand
from simulation.cohort.federation import Federation, SimulationError
from simulation.population.build import build

WHERE = Path("job.toml")
DEVICES, BUFFER, ALPHA = 100, 10, 0.3
TARGET = 0.93
"""Accuracy on the samples that no device has."""
SIGMAS = (0.5, 1.0, 1.5)
JITTER = 0.25
OVER_SELECTION = 1.3
RATES = (0.3, 1.0, 2.0)
SERVER_RATES = (0.5, 1.0, 2.0)
LIMIT = {"synchronous": 25, "over-selected": 33, "fedbuff": 250}
"""Rounds: 2,500 updates."""


class Case(NamedTuple):
    """One run."""

    method: str
    sigma: float
    rate: float
    server_rate: float
    seed: int


class Found(NamedTuple):
    """Of a method with the rates that were best, over the seeds."""

    rate: float
    server_rate: float
    seconds: list[float]
    """∞ where the target was not reached."""
    updates: list[float]
    """That had been fused by then."""


def job(case: Case) -> Job:
    """The same for all methods but for the rounds and the rule."""
    is_buffered = case.method == "fedbuff"
    cohort, over_selection = (1 / OVER_SELECTION, OVER_SELECTION) if case.method == "over-selected" else (1.0, 1.0)
    table = {
        "name": "digits",
        "seed": case.seed,
        "model": {"inputs": 64, "hidden": [32], "outputs": 10},
        "data": {"features": ["x"], "target": "y", "classes": [str(digit) for digit in range(10)]},
        "training": {"loss": "cross_entropy", "learning_rate": case.rate, "batch_size": 10},
        "rounds": {
            "count": LIMIT[case.method],
            "devices": DEVICES,
            "cohort": cohort,
            "over_selection": over_selection,
            "quorum": 0.05,
            "deadline_s": 604_800.0,
            "evaluate": 0.0,
        },
        "strategy": {
            "name": "fedbuff" if is_buffered else "fedavg",
            "options": {"server_learning_rate": case.server_rate},
        },
        "simulation": {
            "dataset": "digits",
            "clients": DEVICES,
            "test_fraction": 0.2,
            "partition": {"method": "dirichlet", "alpha": ALPHA, "balanced": True},
            "devices": {"compute": {"weights_per_s": 2410.0 * 14, "sigma": case.sigma, "jitter": JITTER}},
        },
    }
    if is_buffered:
        table["asynchronous"] = {"buffer": BUFFER, "max_staleness": 1000}
    made = config.convert(table, Job, str(WHERE))
    check_job(made, str(WHERE))
    return made


def run(case: Case) -> tuple[float, float]:
    """Simulated seconds until the target is reached, and updates fused by then."""
    given = job(case)
    federation = Federation(given, WHERE, build(given, WHERE, given.seed), OneHand)
    history = federation.history
    try:
        for _ in federation.run():
            if history.metrics and history.metrics[-1]["test_accuracy"] >= TARGET:
                break
    except SimulationError:  # the devices' training diverges
        return math.inf, math.inf
    seconds = history.rounds_to("test_accuracy", TARGET, "simulated_s")
    rounds = history.rounds_to("test_accuracy", TARGET)
    if seconds is None or rounds is None:
        return math.inf, math.inf
    return seconds, statistics.fmean(history.updates) * rounds


def cases(sigmas: Iterable[float], rates: Iterable[float], seeds: int) -> list[Case]:
    """All runs."""
    every = itertools.product(LIMIT, sigmas, rates, SERVER_RATES, range(1, seeds + 1))
    return [Case(*each) for each in every]


def best(runs: dict[Case, tuple[float, float]], method: str, sigma: float) -> Found:
    """With the rates whose median time is the shortest."""
    found: dict[tuple[float, float], list[tuple[float, float]]] = {}
    for case, result in runs.items():
        if (case.method, case.sigma) == (method, sigma):
            found.setdefault((case.rate, case.server_rate), []).append(result)
    rates = min(found, key=lambda each: statistics.median(seconds for seconds, _ in found[each]))
    seconds, updates = zip(*found[rates], strict=True)
    return Found(*rates, list(seconds), list(updates))


def lines(runs: dict[Case, tuple[float, float]], sigmas: Iterable[float]) -> Iterator[str]:
    """A table in Markdown."""
    yield "| σ of ln(speed) | method | learning rate, server's | time | range | updates | slower than FedBuff |"
    yield "|---|---|---|---|---|---|---|"
    for sigma in sigmas:
        found = {method: best(runs, method, sigma) for method in LIMIT}
        fastest = statistics.median(found["fedbuff"].seconds)
        for method, each in found.items():
            seconds = statistics.median(each.seconds)
            span = f"{min(each.seconds):.2f} – {max(each.seconds):.2f}".replace("inf", "∞")
            rates = f"{each.rate:g}, {each.server_rate:g}"
            updates = f"{statistics.median(each.updates):,.0f}"
            yield f"| {sigma:g} | {method} | {rates} | {seconds:.2f} | {span} | {updates} | {seconds / fastest:.1f}× |"


def page(table: str, seeds: int, rates: Iterable[float]) -> str:
    """As Markdown."""
    head = HEAD.format(
        target=TARGET,
        devices=DEVICES,
        alpha=ALPHA,
        jitter=JITTER,
        cohort=math.ceil(DEVICES / OVER_SELECTION),
        buffer=BUFFER,
        most=BUFFER * LIMIT["fedbuff"],
        seeds=seeds,
        rates=", ".join(f"{rate:g}" for rate in rates),
        server_rates=", ".join(f"{rate:g}" for rate in SERVER_RATES),
    )
    return f"{head}\n{table}\n"


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one spread of speeds, one learning rate, one seed")
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="of fedbuff.md")
    given = parser.parse_args()
    sigmas, rates, seeds = ((1.0,), (1.0,), 1) if given.quick else (SIGMAS, RATES, given.seeds)
    every = cases(sigmas, rates, seeds)
    with ProcessPoolExecutor(given.workers) as pool, Progress() as progress:
        results = progress.track(pool.map(run, every, chunksize=4), total=len(every), description="runs")
        runs = dict(zip(every, results, strict=True))
    table = "\n".join(lines(runs, sigmas))
    print(table)
    if given.write:
        (given.write / "fedbuff.md").write_text(page(table, seeds, rates), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
