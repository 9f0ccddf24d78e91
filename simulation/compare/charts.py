"""A comparison's pictures, as SVG text."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from fedloom.learning.metrics import lower_is_better
from fedloom.sweep import Value, shown
from simulation.compare.compare import Group
from simulation.compare.rows import Row
from simulation.compare.statistics import interval
from simulation.compare.words import short
from simulation.history import Axis, History
from simulation.plots import COLOURS, INK, canvas, svg
from simulation.units import unit_of

DASHES = ("solid", "dashed", "dotted", "dashdot")
MAX_LINES = len(COLOURS) * len(DASHES)
"""Groups that can be told apart in one picture."""
MAX_BANDS = 6
"""Groups whose bands are drawn: more hide each other."""
_WIDTH = 7.2


class Style(NamedTuple):
    """How a group is drawn, in every picture."""

    colour: str
    dash: str


STYLES = [Style(colour, dash) for dash in DASHES for colour in COLOURS]


class Line(NamedTuple):
    """A group's mean curve; a point for each round that all its runs have measured."""

    places: list[float]
    means: list[float]
    half_widths: list[float]
    """0 where there is one run."""


def mean_line(histories: Sequence[History], figure: str, axis: Axis) -> Line:
    """The means over the runs, round by round, of the figure and of what it had cost by then."""
    points = [_points(history, figure, axis) for history in histories]
    rounds = sorted(set.intersection(*map(set, points))) if points else []
    line = Line([], [], [])
    for number in rounds:
        found = interval([each[number][1] for each in points])
        if found:
            line.places.append(float(np.mean([each[number][0] for each in points])))
            line.means.append(found.mean)
            line.half_widths.append(found.half_width or 0.0)
    return line


def _points(history: History, figure: str, axis: Axis) -> dict[int, tuple[float, float]]:
    if figure not in history.figures() or not history.knows(axis):
        return {}
    pairs = zip(history.spent(axis), history.series(figure), strict=True)
    return dict(zip(history.rounds, pairs, strict=True))


def curves(groups: Sequence[Group], figure: str, axis: Axis, target: float | None) -> str:
    """The figure against rounds or a cost: the mean of each group, and, of few, its 95 % confidence interval."""
    lines = [mean_line(group.histories, figure, axis) for group in groups]
    unit = unit_of(axis, max((place for line in lines for place in line.places), default=0.0))
    with canvas(_WIDTH, 3.6) as (drawing, axes):
        for line, (colour, dash) in zip(lines, STYLES, strict=False):
            places, means, half = (np.array(values) for values in line)
            axes.plot(places / unit.size, means, color=colour, linestyle=dash, linewidth=1.6)
            if len(groups) <= MAX_BANDS:
                band = axes.fill_between(places / unit.size, means - half, means + half, color=colour)
                band.set(alpha=0.18, linewidth=0)
        if target is not None:
            axes.axhline(target, color=INK, linestyle=(0, (1, 3)), linewidth=1)
        axes.set(xlabel=unit.titled(axis), ylabel=figure)
    return svg(drawing)


def spread(groups: Sequence[Group], labels: Sequence[str], figure: str) -> str:
    """The last model's figure of each client: half of the clients are in the box, nine of ten on its line."""
    with canvas(_WIDTH, 0.9 + 0.34 * len(groups)) as (drawing, axes):
        for place, (group, style) in enumerate(zip(groups, STYLES, strict=False)):
            values = client_values(group, figure)
            if not len(values):
                continue
            low, first, middle, third, high = np.percentile(values, (5, 25, 50, 75, 95))
            axes.plot((low, high), (place, place), color=style.colour, linewidth=1.2)
            axes.add_patch(Rectangle((first, place - 0.28), third - first, 0.56, color=style.colour, alpha=0.35))
            axes.plot((middle, middle), (place - 0.28, place + 0.28), color=style.colour, linewidth=2)
            axes.scatter((values.min(), values.max()), (place, place), color=style.colour, s=8)
        axes.set(xlabel=f"{figure} of each client", yticks=range(len(groups)), yticklabels=labels)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.grid(axis="x")
    return svg(drawing)


def client_values(group: Group, figure: str) -> NDArray[np.float64]:
    """One value for each client of each run."""
    values = [history.clients.get(figure, []) for history in group.histories]
    found = np.array(list(itertools.chain.from_iterable(values)), np.float64)
    return found[np.isfinite(found)]


def heat_map(rows: Sequence[Row], across: str, down: str, figure: str) -> str:
    """The last model's figure for each pair of values of two swept keys, its mean over everything else."""
    columns, lines = values_of(rows, across), values_of(rows, down)
    means = np.full((len(lines), len(columns)), np.nan)
    for (i, line), (j, column) in itertools.product(enumerate(lines), enumerate(columns)):
        fitting = (row for row in rows if row.settings.get(across) == column and row.settings.get(down) == line)
        found = interval([row.final.mean for row in fitting if row.final])
        means[i, j] = found.mean if found else np.nan
    with canvas(_WIDTH, 1.0 + 0.5 * len(lines)) as (drawing, axes):
        sign = -1.0 if lower_is_better(figure) else 1.0  # what is better is brighter
        axes.pcolormesh(sign * means, cmap="viridis", edgecolors="none")
        middle = (np.nanmin(means) + np.nanmax(means)) / 2
        axes.grid(visible=False)
        for (i, j), value in np.ndenumerate(means):
            if np.isfinite(value):
                ink = (
                    "#ffffff" if sign * (value - middle) <= 0 else "#111827"
                )  # on viridis, which goes from dark to bright
                text = f"{100 * value:.1f}" if figure.endswith("accuracy") else f"{value:.3g}"
                axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", color=ink)
        axes.set(xlabel=short(across), ylabel=short(down))
        axes.set_xticks(np.arange(len(columns)) + 0.5, [shown(value) for value in columns])
        axes.set_yticks(np.arange(len(lines)) + 0.5, [shown(value) for value in lines])
        axes.tick_params(length=0)
        axes.invert_yaxis()
    return svg(drawing)


def values_of(rows: Sequence[Row], key: str) -> list[Value]:
    """Of a swept key, in the order of the sweep."""
    found: list[Value] = []
    for row in rows:
        if key in row.settings and row.settings[key] not in found:
            found.append(row.settings[key])
    return found
