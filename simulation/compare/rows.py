"""A comparison in figures: a row a group of repetitions."""

import msgspec

from fedloom.errors import InputError
from fedloom.suggest import closest
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


def findings(comparison: Comparison, figure: str, target: float | None) -> Findings:
    """The rows of a comparison by this figure; empty: the one that people look at first.

    Raises:
        InputError: no run measured it.
    """
    name = _figure(comparison, figure)
    rows = [_row(group, name, target) for group in comparison.groups]
    failures = [Failure(str(outcome.run), outcome.problem) for outcome in comparison.failures]
    return Findings(name, target, rows, failures, comparison.left_out)


def _figure(comparison: Comparison, wanted: str) -> str:
    histories = [history for group in comparison.groups for history in group.histories]
    if not wanted or not histories:
        return next((history.headline for history in histories), "")
    known = sorted({name for history in histories for name in history.figures()})
    if wanted not in known:
        close = closest(wanted, known)
        remedy = f"did you mean '{close}'?" if close else f"choose from {', '.join(known)}"
        raise InputError("fedloom compare", "--figure", f"{wanted!r} was not measured in any run", remedy)
    return wanted


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
