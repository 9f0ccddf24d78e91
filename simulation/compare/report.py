"""What a comparison leaves behind: report.html, which needs nothing beside it, and its figures as JSON."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from simulation.compare import charts, words
from simulation.compare.compare import Comparison
from simulation.compare.rows import COSTS, Findings
from simulation.history import TEST
from simulation.pages import write_page

_TITLES = {
    "rounds": "Against rounds",
    "update_bytes": "Against bytes",
    "simulated_s": "Against simulated time",
}
_CAPTION = "Mean over the seeds, round by round"
_BAND = "; the band is its 95 % confidence interval."
_HEAT_MAPS = 6
_DASHES = {"solid": "none", "dashed": "7 3", "dotted": "2 2", "dashdot": "7 2 2 2"}


class Chart(NamedTuple):
    """A picture and what to say about it."""

    title: str
    svg: str
    caption: str


class Swatch(NamedTuple):
    """A row's line in the pictures."""

    colour: str
    dashes: str


class Line(NamedTuple):
    """A row of the table."""

    cells: list[str]
    label: str
    style: Swatch | None
    """None: it is not in the pictures."""


def write_report(directory: Path, comparison: Comparison, found: Findings, command: str) -> None:
    """Fill `directory` with report.html and findings.json; `command` does the same again."""
    paths = dict.fromkeys(outcome.run.path for group in comparison.groups for outcome in group.outcomes)
    write_page(
        directory / "report.html",
        "compare.html",
        " beside ".join(dict.fromkeys(row.job for row in found.rows)),
        _lead(comparison),
        headings=words.headings(found),
        lines=_lines(found),
        note=words.note(found),
        failures=found.failures,
        charts=_charts(comparison, found),
        jobs=[{"path": path, "text": path.read_text(encoding="utf-8")} for path in paths],
        command=command,
    )
    (directory / "findings.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))


def _lead(comparison: Comparison) -> str:
    runs = sum(len(group.outcomes) for group in comparison.groups)
    left_out = f" {comparison.left_out} more were interrupted." if comparison.left_out else ""
    return f"{runs} simulated runs in {len(comparison.groups)} groups, whose runs differ in their seed alone.{left_out}"


def _lines(found: Findings) -> list[Line]:
    drawn = [Swatch(style.colour, _DASHES[style.dash]) for style in charts.STYLES]
    swatches = itertools.zip_longest(found.rows, drawn[: len(found.rows)])
    return [Line(words.cells(found, row), words.label(found, row), swatch) for row, swatch in swatches]


def _charts(comparison: Comparison, found: Findings) -> list[Chart]:
    groups = comparison.groups[: charts.MAX_LINES]
    if not any(row.final for row in found.rows):
        return []
    known = words.known_costs(found)
    caption = _CAPTION + (_BAND if len(groups) <= charts.MAX_BANDS else ".")
    made = [
        Chart(_TITLES[axis], charts.curves(groups, found.figure, axis, found.target), caption)
        for axis in COSTS
        if axis in known
    ]
    own = found.figure.removeprefix(TEST)
    if any(len(charts.client_values(group, own)) for group in groups):
        labels = [words.label(found, row) for row in found.rows[: charts.MAX_LINES]]
        caption = "The last model on each client's own hold-out: half of them are in the box, nine of ten on the line."
        made.append(Chart("How clients differ", charts.spread(groups, labels, own), caption))
    return made + _heat_maps(found)


def _heat_maps(found: Findings) -> list[Chart]:
    """For each pair of keys with several values each."""
    several = [key for key in words.swept(found.rows) if len(charts.values_of(found.rows, key)) > 1]
    pairs: Sequence[tuple[str, str]] = list(itertools.combinations(several, 2))[:_HEAT_MAPS]
    rest = " and everything else that was swept" if len(several) > 2 else ""
    return [
        Chart(
            f"{words.short(down)} and {words.short(across)}",
            charts.heat_map(found.rows, across, down, found.figure),
            f"{found.figure} of the last model, mean over seeds{rest}.",
        )
        for down, across in pairs
    ]
