"""Rounds of FedAvg to 97 % test accuracy on MNIST with the 2NN, beside those of the paper that introduced it.

python benchmarks/mcmahan.py [--mnist DIRECTORY] [--quick] [--seeds N] [--workers N] [--results FILE]
                             [--write DIRECTORY]

The first DIRECTORY has MNIST's four files; docs/simulation.md says how to get them, and where they are found. The
learning rate of each cell is the best of RATES with a seed of its own; then come the seeds that count. Every run is
kept in FILE as a line of JSON, by all that it depends on, so that what was cut off goes on where it was. --write also
makes mcmahan.md and mcmahan.svg.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import environments
from mcmahan_page import Found, as_markdown, as_text, draw
from mcmahan_run import SMALLER, Cell, Result, Run, run
from rich.progress import MofNCompleteColumn, Progress

from simulation.population import images

CELLS = (
    Cell(True, 1, 10, 0.1, 87),
    Cell(True, 10, 10, 0.1, 34),
    Cell(True, 20, 10, 0.1, 32),
    Cell(True, 1, 50, 0.1, 144),
    Cell(False, 1, 10, 0.1, 664),
    Cell(False, 10, 10, 0.1, 497),
    Cell(True, 1, 10, 0.0, 316),
    Cell(True, 1, 10, 0.2, 77),
    Cell(True, 1, 10, 0.5, 75),
    Cell(True, 1, 10, 1.0, 70),
    Cell(True, 1, 10, 0.1, 87, SMALLER),
)
"""Of the paper's tables for the 2NN; the last is the first with other first weights."""
RATES = (0.05, 0.1, 0.2, 0.3)
TUNING_SEED = 0
PATIENCE = 2
"""A run is given up after so many times the paper's rounds; in tuning after the paper's."""

Results = dict[Run, Result]


class Kept:
    """Results on disk, a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: Results = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                (cell, *rest), result = json.loads(line)
                self._results[Run(Cell(*cell), *rest)] = Result(*result)

    def complete(self, wanted: Iterable[Run], folder: Path, workers: int, what: str) -> Results:
        """The results of all these runs; those that are missing are made, the longest first."""
        runs = list(wanted)
        missing = [each for each in runs if each not in self._results]
        missing.sort(key=lambda each: -each.limit * each.cell.epochs_a_round)
        for each, result in _made(missing, folder, workers, what):
            self._results[each] = result
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps((each, result)) + "\n")
        return {each: self._results[each] for each in runs}


def _made(runs: list[Run], folder: Path, workers: int, what: str) -> Iterator[tuple[Run, Result]]:
    """As they come. Processes are spawned: each sets up BLAS by the environment as it is by now."""
    context = multiprocessing.get_context("spawn")
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with ProcessPoolExecutor(workers, context) as pool, Progress(*columns) as progress:
        bar = progress.add_task(what, total=len(runs))
        futures = {pool.submit(run, each, folder): each for each in runs}
        for future in as_completed(futures):
            yield futures[future], future.result()
            progress.advance(bar)


def tuning(cell: Cell) -> list[Run]:
    """With every learning rate; what the paper's rounds are not enough for is not wanted."""
    return [Run(cell, rate, TUNING_SEED, cell.paper) for rate in RATES]


def best_rate(tuned: Results, cell: Cell) -> float:
    """That needs the fewest rounds or, where none gets there, comes closest."""

    def order(each: Run) -> tuple[float, float]:
        rounds, curve, _ = tuned[each]
        return (float("inf") if rounds is None else rounds, -max(curve))

    return min(tuning(cell), key=order).learning_rate


def measure(cells: Iterable[Cell], seeds: int, folder: Path, kept: Kept, workers: int) -> list[Found]:
    """A line of the table for each cell."""
    wanted = list(cells)
    tuned = kept.complete((each for cell in wanted for each in tuning(cell)), folder, workers, "tuning")
    final = {
        cell: [Run(cell, best_rate(tuned, cell), seed, PATIENCE * cell.paper) for seed in range(1, seeds + 1)]
        for cell in wanted
    }
    results = kept.complete((each for runs in final.values() for each in runs), folder, workers, "seeds")
    return [
        Found(
            cell,
            runs[0].learning_rate,
            [results[each] for each in runs],
            {each.learning_rate: tuned[each].rounds for each in tuning(cell)},
        )
        for cell, runs in final.items()
    ]


def main() -> int:
    """Exit status 1 if a cell is worse than the paper's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    installed = images.find("mnist")
    parser.add_argument("--mnist", type=Path, metavar="DIRECTORY", default=installed, required=installed is None,
                        help="of MNIST's four files; default: where a package has put them")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="the first cell alone, with two seeds")
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes")
    default = environments.PROJECT / "runs" / "mcmahan.jsonl"
    parser.add_argument("--results", type=Path, default=default, metavar="FILE", help="default: runs/mcmahan.jsonl")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="of mcmahan.md and mcmahan.svg")
    given = parser.parse_args()
    environments.prepare()
    cells, seeds = (CELLS[:1], 2) if given.quick else (CELLS, given.seeds)
    found = measure(cells, seeds, given.mnist, Kept(given.results), given.workers)
    print(environments.headline(Path(sys.executable), None))
    print(as_text(found))
    if given.write:
        given.write.mkdir(parents=True, exist_ok=True)
        (given.write / "mcmahan.md").write_text(as_markdown(found), encoding="utf-8")
        (given.write / "mcmahan.svg").write_text(draw(found), encoding="utf-8")
    return 0 if all(each.is_met for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
