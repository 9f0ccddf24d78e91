"""Which rule holds against which attack: devices that lie, on scikit-learn's digits, evenly dealt out and not.

python benchmarks/byzantine.py [--quick] [--seeds N] [--rounds N] [--workers N] [--write DIRECTORY]

Prints the median over the seeds of the last model's accuracy; --write also makes byzantine.md and byzantine.png there.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from byzantine_page import Setting, Table, as_markdown, as_text, draw
from byzantine_run import ATTACKS, Case, final_accuracy
from rich.progress import Progress

from fedloom.job.choices import StrategyChoice

DEVICES = 20
ALPHAS = (None, 0.3)
"""Evenly; and by a Dirichlet distribution, where most devices hold two or three classes."""
ATTACKERS = (2, 4, 6)
MIXING = ("nearest_neighbour_mixing",)


def defences(attackers: int) -> dict[str, StrategyChoice]:
    """By their names in the table. Those that assume a number of attackers are told the right one, Bulyan as far as it
    can withstand so many; `robust` is told nothing.
    """
    f = {"f": attackers}
    return {
        "fedavg": StrategyChoice("fedavg"),
        "median": StrategyChoice("median"),
        "trimmed_mean": StrategyChoice("trimmed_mean", f),
        "krum": StrategyChoice("krum", f),
        "multi_krum": StrategyChoice("multi_krum", f),
        "bulyan": StrategyChoice("bulyan", {"f": min(attackers, (DEVICES - 3) // 4)}),
        "geometric_median": StrategyChoice("geometric_median"),
        "centred_clipping": StrategyChoice("centred_clipping"),
        "norm_clipping": StrategyChoice("norm_clipping"),
        "fltrust": StrategyChoice("fltrust"),
        "mixing + trimmed_mean": StrategyChoice("trimmed_mean", f, before=MIXING),
        "robust = true": StrategyChoice(robust=True),
    }


def settings(is_quick: bool) -> list[Setting]:
    """Of how the data lie and how many lie about them."""
    return [
        Setting(alpha, attackers, DEVICES)
        for alpha in ALPHAS
        for attackers in (ATTACKERS[1:2] if is_quick else ATTACKERS)
    ]


def cases(setting: Setting, seeds: int, rounds: int) -> Iterator[Case]:
    """All of one table."""
    for defence, choice in defences(setting.attackers).items():
        for attack in ATTACKS:
            for seed in range(seeds):
                yield Case(defence, choice, attack, setting.alpha, setting.attackers, seed, DEVICES, rounds)


def measure(wanted: list[Setting], seeds: int, rounds: int, workers: int) -> Iterator[tuple[Setting, Table]]:
    """Median accuracies, a setting after the other, with a bar that says how far it is."""
    every = {setting: list(cases(setting, seeds, rounds)) for setting in wanted}
    with ProcessPoolExecutor(workers) as pool, Progress() as progress:
        bar = progress.add_task("jobs", total=sum(map(len, every.values())))
        for setting, each in every.items():
            accuracies: dict[tuple[str, str], list[float]] = {}
            for case, accuracy in zip(each, pool.map(final_accuracy, each, chunksize=4), strict=True):
                accuracies.setdefault((case.defence, case.attack), []).append(accuracy)
                progress.advance(bar)
            yield setting, {key: statistics.median(values) for key, values in accuracies.items()}


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 %% of attackers alone, one seed, ten rounds")
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    parser.add_argument("--rounds", type=int, default=25, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="of byzantine.md and byzantine.png")
    given = parser.parse_args()
    seeds, rounds = (1, 10) if given.quick else (given.seeds, given.rounds)
    tables: dict[Setting, Table] = {}
    for setting, table in measure(settings(given.quick), seeds, rounds, given.workers):
        tables[setting] = table
        print(f"\n{setting}\n{as_text(table)}", flush=True)
    if given.write:
        given.write.mkdir(parents=True, exist_ok=True)
        (given.write / "byzantine.md").write_text(as_markdown(tables, seeds, rounds), encoding="utf-8")
        draw(tables, given.write / "byzantine.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
