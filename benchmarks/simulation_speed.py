"""Client-rounds a second, and memory, of our simulation beside those of Flower, pfl-research, FedJAX and plain loops.

Each side does the same federated averaging in processes of its own; peers in environments that are made on first use.
Of the ways to run a side the fastest counts: tried with 100 and with 1,000 clients a round, 10 take that of 100.
"""

import argparse
import functools
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import environments
import report
from environments import HERE
from processes import Failed
from report import Row
from simulation_growth import Case
from simulation_sides import FEDJAX, FLOWER, MODELS, OURS, PFL, SIDES, Measured, Model, Side, measure, run
from simulation_table import Found, Grown, all_learnt, growth_table, table

from simulation.population import images

COHORTS = (100, 10, 1000)
"""Clients a round."""
TIMES: dict[tuple[str, str], float] = {
    ("2NN", FLOWER): 10.0,
    ("2NN", PFL): 7.0,
    ("2NN", FEDJAX): 3.0,
    ("64-32-10", FLOWER): 500.0,
    ("64-32-10", PFL): 60.0,
    ("64-32-10", FEDJAX): 35.0,
}
"""How many times as fast as each we are meant to be."""
LINEAR_PER_S = 1e6
"""And how many client-rounds of linear regression we are meant to do in a second."""
MNIST_S = 3.0
"""In which a cold process is meant to reach 97 % on MNIST."""
GROWTH_CLIENTS = (100, 1_000, 10_000, 100_000, 1_000_000)
GROWTH_COHORTS = (10, 100, 1_000, 10_000)
GROWTH_HIDDEN = ([13], [133], [280, 280], [960, 960], [3100, 3100])
"""Models of 10³ to 10⁷ weights."""


def fastest(side: Side, settings: Iterable[str], model: Model, clients: int, seconds: float) -> Measured | None:
    """The side in the best of these settings; one that fails is told and left out."""
    found: list[Measured] = []
    for setting in settings:
        try:
            found.append(measure(side, setting, model, clients, seconds))
        except (Failed, subprocess.CalledProcessError) as error:
            print(f"{side.name}, {setting}: {error}", file=sys.stderr)
    return max(found, key=lambda each: each.client_rounds_per_s, default=None)


def compare(model: Model, sides: list[Side], cohorts: tuple[int, ...], seconds: float) -> Found:
    """All sides on one model; a cohort that is smaller than the first is left to the setting that was best there."""
    found: Found = {}
    for side in sides:
        settings = tuple(side.settings)
        for clients in cohorts if side.trains else cohorts[:1]:
            best = fastest(side, settings if clients >= cohorts[0] else settings[:1], model, clients, seconds)
            if best is None:
                break
            found[side.name, clients] = best
            settings = (best.setting, *(each for each in settings if each != best.setting))
            _progress(model, side, clients, best)
    return found


def _progress(model: Model, side: Side, clients: int, found: Measured) -> None:
    rate = f"{found.client_rounds_per_s:,.0f} client-rounds/s"
    print(f"  {model.name}, {clients} clients, {side.name} ({found.setting}): {rate}", file=sys.stderr, flush=True)


def rows(model: Model, found: Found) -> Iterator[Row]:
    """Time a client and round, and memory: ours beside each peer's."""
    for (side, clients), theirs in found.items():
        ours = found.get((OURS.name, clients))
        if ours is None or side == OURS.name:
            continue
        each_us, their_us = 1e6 / ours.client_rounds_per_s, 1e6 / theirs.client_rounds_per_s
        times = TIMES.get((model.name, side))
        case = f"{model.name}, {clients} clients, beside {side}"
        yield Row(case, "µs a client and round", each_us, their_us, their_us / times if times else None)
        yield Row(case, "peak memory, MiB", ours.peak_mib, theirs.peak_mib)
    rates = [each.client_rounds_per_s for (side, _), each in found.items() if side == OURS.name]
    if model.name == "linear" and rates:
        yield Row("linear, the best", "µs a client and round", 1e6 / max(rates), None, 1e6 / LINEAR_PER_S)


@functools.cache
def peak_gflop_per_s(processes: int) -> float:
    """What sgemm does in so many processes at once, together."""
    command = [sys.executable, str(HERE / "sgemm.py")]
    at_once = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes)]
    return sum(float(json.loads(process.communicate()[0])["gflop_per_s"]) for process in at_once)


def shares(model: Model, found: Found) -> Iterator[str]:
    """Of what this machine's sgemm reaches, ours."""
    for processes in (1, 2):
        best = [
            each.client_rounds_per_s
            for (side, _), each in found.items()
            if side == OURS.name and each.setting.startswith(str(processes))
        ]
        if best:
            used, most = 1e-9 * model.flop * max(best), peak_gflop_per_s(processes)
            name = "process" if processes == 1 else "processes"
            yield f"sgemm in {processes} {name}: {most:.0f} GFLOP/s; ours: {used:.1f}, a share of {used / most:.1%}"


def growth(is_quick: bool, seconds: float) -> Iterator[Grown]:
    """One of population, cohort and model grows, the others stay."""
    most = 3 if is_quick else None
    cases = [Case(clients, 100, [32], seconds) for clients in GROWTH_CLIENTS[:most]]
    cases += [Case(10_000, cohort, [32], seconds) for cohort in GROWTH_COHORTS[:most]]
    cases += [Case(1_000, 10, hidden, seconds) for hidden in GROWTH_HIDDEN[:most]]
    for case in cases:
        found, peak_mib = run([sys.executable, str(HERE / "simulation_growth.py"), json.dumps(case._asdict())])
        print(f"  {case.clients:,} clients, {case.cohort:,} a round, {case.weights:,} weights", file=sys.stderr)
        yield Grown(case, **found, peak_mib=peak_mib)


def mnist() -> Iterator[Row]:
    """From exec to 97 %."""
    if images.find("mnist") is None:
        print(f"MNIST is not here; {images.SETS['mnist'].install} brings it", file=sys.stderr)
        return
    for workers, backend in itertools.product((1, 2), ("numpy", "numba")):
        found, peak_mib = run([sys.executable, str(HERE / "simulation_mnist.py"), str(workers), backend])
        case = f"MNIST to 97 % with the 2NN in {found['rounds']} rounds, workers: {workers}, {backend}"
        yield Row(case, "s from exec", found["seconds"], None, MNIST_S)
        yield Row(case, "peak memory, MiB", peak_mib)


def main(description: str) -> int:
    """Exit status 1 if a side did not learn; a missed aim is a finding, not a failure."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 clients a round alone, and little growth")
    names = [side.name for side in SIDES if side is not OURS]
    parser.add_argument(
        "--skip-peer", action="append", default=[], choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="after which no further round is begun")
    parser.add_argument("--core-type", metavar="NAME", help="of OpenBLAS, for all sides; default: as it chooses itself")
    parser.add_argument("--skip-growth", action="store_true")
    report.add_option(parser)
    options = parser.parse_args()
    environments.prepare()
    if options.core_type:
        os.environ["OPENBLAS_CORETYPE"] = options.core_type
    sides = [side for side in SIDES if side.name not in options.skip_peer]
    print(environments.headline(Path(sys.executable), None))
    every: list[Row] = []
    is_sound = True
    try:
        for model in MODELS:
            found = compare(model, sides, COHORTS[1:2] if options.quick else COHORTS, options.seconds)
            print(table(model, found), *shares(model, found), "", sep="\n", flush=True)
            every += rows(model, found)
            is_sound = is_sound and all_learnt(found)
        if not options.skip_growth:
            print(growth_table(list(growth(options.quick, options.seconds))), "", sep="\n", flush=True)
        reached = list(mnist())
        print(report.table(reached, "peer"))
        every += reached
    except Failed as error:
        print(f"simulation: {error}", file=sys.stderr)
        return 1
    finally:
        if options.json:
            options.json.write_text(report.as_json(every), encoding="utf-8")
    return 0 if is_sound else 1
