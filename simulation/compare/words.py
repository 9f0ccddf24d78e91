"""A comparison's rows as people read them: the same cells for the terminal and for the report."""

import math
from collections.abc import Iterator, Sequence

from fedloom.sweep import shown
from simulation.compare.rows import Findings, Row
from simulation.compare.statistics import Interval
from simulation.history import Axis
from simulation.units import Unit, unit_of


def headings(findings: Findings) -> list[str]:
    """Of the columns: what is compared, how good it became, and what that cost."""
    to = "" if findings.target is None else f" to {value_of(findings.figure, findings.target)}"
    return [
        *_compared(findings),
        "seeds",
        f"{findings.figure or 'figure'}, last",
        "best",
        *(_unit(findings, axis).titled(axis, to) for axis in known_costs(findings)),
    ]


def cells(findings: Findings, row: Row) -> list[str]:
    """Of one row, below `headings`."""
    keys, names = swept(findings.rows), _names_jobs(findings)
    failed = f", {row.failed} failed" if row.failed else ""
    return [
        *([row.job] if names else []),
        *(shown(row.settings[key]) if key in row.settings else "" for key in keys),
        f"{len(row.seeds)}{failed}",
        figure_cell(findings.figure, row.final),
        figure_cell(findings.figure, row.best),
        *(_cost_cell(findings, row, axis) for axis in known_costs(findings)),
    ]


def label(findings: Findings, row: Row) -> str:
    """Of one row, in a plot."""
    parts = [row.job] if _names_jobs(findings) else []
    for key in swept(findings.rows):
        if key in row.settings:
            text = shown(row.settings[key])
            parts.append(text if isinstance(row.settings[key], dict | str) else f"{short(key)} {text}")
    return ", ".join(parts) or row.job


def swept(rows: Sequence[Row]) -> list[str]:
    """The keys that differ, without the seed."""
    return list(dict.fromkeys(key for row in rows for key in row.settings))


def known_costs(findings: Findings) -> list[Axis]:
    """Of which some row knows something; rounds anyway."""
    found = {axis for row in findings.rows for axis in row.costs}
    costs: tuple[Axis, ...] = ("rounds", "update_bytes", "simulated_s")
    return [axis for axis in costs if axis in found or axis == "rounds"]


def value_of(figure: str, value: float) -> str:
    """A figure as people read it.

    >>> value_of("test_accuracy", 0.975), value_of("loss", 0.0312345)
    ('97.5 %', '0.03123')
    """
    return f"{100 * value:.1f} %" if figure.endswith("accuracy") else f"{value:.4g}"


def figure_cell(figure: str, found: Interval | None) -> str:
    """A mean and its interval.

    >>> figure_cell("accuracy", Interval(0.975, 0.012, 3)), figure_cell("accuracy", Interval(0.975, None, 1))
    ('97.5 ± 1.2 %', '97.5 % (one run)')
    """
    if found is None:
        return "–"
    if found.half_width is None:
        return f"{value_of(figure, found.mean)} (one run)"
    if figure.endswith("accuracy"):
        return f"{100 * found.mean:.1f} ± {100 * found.half_width:.1f} %"
    return _give_or_take(found.mean, found.half_width)


def _cost_cell(findings: Findings, row: Row, axis: Axis) -> str:
    if findings.target is not None and not row.reached:
        return "not reached" if row.seeds else "–"
    cost = row.costs.get(axis)
    if cost is None:
        return "–"
    unit = _unit(findings, axis)
    some = f" ({row.reached} of {len(row.seeds)})" if row.reached < len(row.seeds) else ""
    half = None if cost.half_width is None else cost.half_width / unit.size
    return f"{_give_or_take(cost.mean / unit.size, half)}{some}"


def _give_or_take(mean: float, half_width: float | None) -> str:
    """Two digits of what is not sure, and the mean to the same place; four places at most.

    >>> _give_or_take(123.456, 12.0), _give_or_take(0.5, 1e-9), _give_or_take(20.0, 0.0)
    ('123 ± 12', '0.5000 ± 0.0000', '20 ± 0')
    """
    if not half_width:
        return f"{mean:.4g}" if half_width is None else f"{mean:.4g} ± 0"
    places = min(4, max(0, 1 - math.floor(math.log10(half_width))))
    return f"{mean:.{places}f} ± {half_width:.{places}f}"


def _unit(findings: Findings, axis: Axis) -> Unit:
    """One for the whole column, whose costs are to be compared."""
    return unit_of(axis, max((row.costs[axis].mean for row in findings.rows if axis in row.costs), default=0.0))


def _compared(findings: Findings) -> list[str]:
    return [*(["job"] if _names_jobs(findings) else []), *map(short, swept(findings.rows))]


def _names_jobs(findings: Findings) -> bool:
    return len({row.job for row in findings.rows}) > 1 or not swept(findings.rows)


def short(key: str) -> str:
    """The end of a key's path that says enough: `training.learning_rate` is `learning_rate`, and a name its table's."""
    *tables, last = key.split(".")
    return tables[-1] if tables and last in ("name", "method", "kind") else last


def note(findings: Findings) -> str:
    """What the figures mean."""
    costs = "Costs are of whole runs."
    if findings.target is not None:
        reached = value_of(findings.figure, findings.target)
        costs = (
            f"Costs are until {findings.figure} first reaches {reached}: the best so far, interpolated between rounds; "
            "means over the runs that reached it."
        )
    sure = "± is the 95 % confidence interval of the mean over seeds (Student's t); one run has none."
    return " ".join([sure, costs, *_warnings(findings)])


def _warnings(findings: Findings) -> Iterator[str]:
    """What keeps rows from being compared."""
    if len(findings.datasets) > 1:
        yield f"The rows are of different data, {', '.join(findings.datasets)}: what differs may be these."
    if lacking := [label(findings, row) for row in findings.rows if row.seeds and row.final is None]:
        yield f"{findings.figure} was not measured in {'; '.join(lacking)}: choose another with --figure."
