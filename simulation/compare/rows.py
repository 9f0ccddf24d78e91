"""A comparison in figures: a row a group of repetitions."""

import msgspec

from fedloom.sweep import Settings
from simulation.compare.compare import Comparison, Group
from simulation.compare.statistics import Interval, interval
from simulation.history import Axis, History

COSTS: tuple[Axis, ...] = ("rounds", "update_bytes", "simulated_s")
"""What a row tells of a run's cost, where the engine knows it."""


class Row(msgspec.Struct, frozen=True):
    """One group."""

    job: str
    settings: Settings
    seeds: list[int]
    """Of the runs that did not fail."""
    failed: int
    final: Interval | None
    """The figure, of the last model; None if no run gave any."""
    best: Interval | None
    reached: int
    """Runs that reached the target; all that did not fail, where there is none."""
    costs: dict[Axis, Interval]
    """Until the target is reached, or of the whole run where there is none: the mean over the runs that reached it."""
    seconds: float
    """That the runs took on this machine, by its wall clock."""


class Failure(msgspec.Struct, frozen=True):
    """A run that failed."""

    run: str
    problem: str


class Findings(msgspec.Struct, frozen=True):
    """All of it, as `--json` prints it."""

    figure: str
    target: float | None
    rows: list[Row]
    failures: list[Failure]
    left_out: int
    """Runs that were not done, as somebody interrupted them."""
    datasets: list[str]
    """That the runs are of."""


def findings(comparison: Comparison, figure: str, target: float | None) -> Findings:
    """The rows of a comparison by this figure; empty: the one that people look at first."""
    name = figure or _headline(comparison)
    rows = [_row(group, name, target) for group in comparison.groups]
    failures = [Failure(str(outcome.run), outcome.problem) for outcome in comparison.failures]
    return Findings(name, target, rows, failures, comparison.left_out, _datasets(comparison))


def _headline(comparison: Comparison) -> str:
    histories = (history for group in comparison.groups for history in group.histories)
    return next((history.headline for history in histories), "")


def _datasets(comparison: Comparison) -> list[str]:
    """In the order of the jobs."""
    runs = (outcome.run for group in comparison.groups for outcome in group.outcomes)
    named = ((run.job.simulation and run.job.simulation.dataset, run.path.parent / "data") for run in runs)
    return list(dict.fromkeys(name or str(folder) for name, folder in named))


def _row(group: Group, figure: str, target: float | None) -> Row:
    histories = [history for history in group.histories if figure in history.figures()]
    costs = {axis: [_cost(history, axis, figure, target) for history in histories] for axis in COSTS}
    means = {axis: interval([value for value in values if value is not None]) for axis, values in costs.items()}
    return Row(
        job=group.job,
        settings=group.settings,
        seeds=group.seeds,
        failed=len(group.outcomes) - len(group.histories),
        final=interval([history.series(figure)[-1] for history in histories]),
        best=interval([history.best(figure).value for history in histories]),
        reached=sum(value is not None for value in costs["rounds"]),
        costs={axis: mean for axis, mean in means.items() if mean},
        seconds=sum(sum(history.seconds) for history in histories),
    )


def _cost(history: History, axis: Axis, figure: str, target: float | None) -> float | None:
    """None: it is not known, or the target was not reached."""
    if not history.knows(axis):
        return None
    if target is None:
        return history.spent(axis)[-1]
    return history.rounds_to(figure, target, axis)
