"""What helps where clients' data differ: strategies under Dirichlet 0.1, by rounds to an accuracy and what is reached.

python benchmarks/heterogeneity.py [--quick] [--data NAMES] [--workers N] [--write DIRECTORY]

scikit-learn's digits, and MNIST where its files are found (docs/simulation.md says where). Each strategy's option and
the clients' learning rate are the best of STRATEGIES and RATES with a seed of its own; then come the seeds that count.
Runs are kept as those of `fedloom compare` are, so that what was cut off goes on where it was. --write also makes
heterogeneity.md and heterogeneity.svg.
"""

import argparse
import itertools
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

import environments
from heterogeneity_jobs import WHERE, Setting, Strategy, job
from heterogeneity_page import Found, as_markdown, as_text, draw
from rich.console import Console

from fedloom.data.table import Wanted
from fedloom.errors import InputError
from fedloom.job.variants import variant
from fedloom.sweep import Settings, Value, combinations
from simulation.compare.cache import Cache, default_folder
from simulation.compare.compare import Outcome, compare
from simulation.compare.plan import Run
from simulation.compare.progress import following
from simulation.compare.work import simulate_run
from simulation.population.catalogue import open_dataset

RATES = (0.1, 0.3, 1.0)
SERVER_RATES = (1.0, 1.5, 2.0)
STRATEGIES = (
    Strategy("fedavg", "server_learning_rate", SERVER_RATES),
    Strategy("fedprox", "mu", (0.01, 0.1, 1.0)),
    Strategy("fednova", "server_learning_rate", SERVER_RATES),
    Strategy("scaffold", "server_learning_rate", SERVER_RATES),
    Strategy("feddyn", "alpha", (0.01, 0.1, 1.0)),
)
"""Each with as many values of its own option."""
TUNING_SEED = 1000
SETTINGS = (
    Setting("digits", True, 64, 0.2, 5, 10, 100, 50, 0.93, 5),
    Setting("digits", False, 64, 0.2, 5, 10, 100, 50, 0.93, 5),
    Setting("mnist", True, 784, 0.0, 3, 20, 60, 15, 0.90, 3),
)


def settings(names: list[str], is_quick: bool) -> list[Setting]:
    """Those of these data sets, as far as they are here."""
    if is_quick:
        return [each._replace(rounds=30, tuning_rounds=10, target=0.8, seeds=2) for each in SETTINGS[:1]]
    return [each for each in SETTINGS if each.dataset in names and is_here(each.dataset)]


def is_here(name: str) -> bool:
    """Whether a data set can be read; if not, says why."""
    try:
        open_dataset(name, Wanted(("x",), ("y",)), WHERE)
    except InputError as error:
        print(f"without {name}: {error}", file=sys.stderr)
        return False
    return True


def measure(setting: Setting, workers: int, console: Console) -> list[Found]:
    """Tuned by the mean of the curve, which counts both how soon and how far; then all seeds."""
    sweep: dict[str, tuple[Value, ...]] = {
        "strategy": tuple(table for strategy in STRATEGIES for table in strategy.tables()),
        "training.learning_rate": RATES,
        "seed": (TUNING_SEED,),
    }
    tuned = simulated(setting, combinations(sweep), workers, console)
    best = [max((each for each in tuned if each.strategy == one.name), key=score).settings for one in STRATEGIES]
    final = {"rounds.count": (setting.rounds,), "seed": tuple(range(1, setting.seeds + 1))}
    wanted = (settings | more for settings in best for more in combinations(final))
    return simulated(setting, wanted, workers, console)


def simulated(setting: Setting, wanted: Iterable[Settings], workers: int, console: Console) -> list[Found]:
    """One for all seeds of a choice, in the order of the choices."""
    base = job(setting)
    runs = [Run(each, variant(base, each, str(WHERE)), WHERE) for each in wanted]
    with following(len(runs), workers, console) as tell:
        groups = compare(runs, simulate_run, workers, Cache(default_folder()), tell).groups
    return [Found(setting, group.settings, [curve(each) for each in group.outcomes]) for group in groups]


def curve(outcome: Outcome) -> list[float]:
    """Test accuracy of the first model and after each round; that of nothing where no client's training converges."""
    return outcome.history.series("test_accuracy") if outcome.history else [0.0]


def score(found: Found) -> float:
    """What is tuned for."""
    return statistics.fmean(itertools.chain(*found.curves))


def main() -> int:
    """Nothing is compared with a limit: the table says what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few rounds on digits, with two seeds")
    parser.add_argument("--data", default="digits,mnist", metavar="NAMES", help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="of heterogeneity.md and heterogeneity.svg")
    given = parser.parse_args()
    environments.prepare()
    console = Console(stderr=True)
    found = [
        line
        for setting in settings(given.data.split(","), given.quick)
        for line in measure(setting, given.workers, console)
    ]
    print(environments.headline(Path(sys.executable), None))
    print(as_text(found))
    if given.write:
        (given.write / "heterogeneity.md").write_text(as_markdown(found, RATES, STRATEGIES), encoding="utf-8")
        (given.write / "heterogeneity.svg").write_text(draw(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
