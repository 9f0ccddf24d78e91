"""The tables of heterogeneity.py as text and as a page, and their picture."""

import io
import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from heterogeneity_jobs import ALPHA, CLIENTS, COHORT, Setting, Strategy
from matplotlib.figure import Figure

from fedloom.sweep import Settings
from simulation.curves import crossing
from simulation.plots import COLOURS

LAST = 10
"""Rounds at the end, over which accuracy is averaged: from one to the next it jumps."""
COLUMNS = ("strategy", "option", "learning rate", "rounds", "range", "accuracy, %", "range")

_HEAD = """# Clients that differ

How strategies fare where each client has few classes: rounds to an accuracy, and the accuracy that is reached. Made by
`benchmarks/heterogeneity.py`; do not edit. What the strategies do is in [strategies](strategies.md#heterogeneous-data).

- {clients} clients, of which {cohort:.0%} train in a round; classes are dealt out by Dirichlet {alpha:g}, as
  [the job file](job.md#simulation) has it: once so that all clients have equally many samples (`balanced = true`), and
  once so that some have many and most have few. The model has one hidden layer of 32.
- Accuracy is on data that no client has. *Rounds* are to the accuracy named above the table, counted as McMahan et al.
  2017 do (the curve made monotone, interpolated); *accuracy* is the mean of the last {last} rounds. Both are the median
  of the seeds, with their range; — was not reached.
- Tuned with a seed of its own: for each strategy the clients' learning rate over {rates}, and one option over three
  values: {grids}. What has the largest mean
  accuracy over the first rounds is taken: it counts how soon and how far. The tuning sees the test data, which is fair
  between strategies, and makes the accuracy itself no claim.

![Accuracy by rounds](heterogeneity.svg)
"""


class Found(NamedTuple):
    """A strategy's line."""

    setting: Setting
    settings: Settings
    """Of its job: the strategy, the learning rate."""
    curves: list[list[float]]
    """By seed, from the first model on."""

    @property
    def strategy(self) -> str:
        """Its name."""
        return str(self._table["name"])

    @property
    def option(self) -> str:
        """What of its own was tuned, and to what."""
        options = self._table["options"]
        assert isinstance(options, dict)
        return next(f"{name} {value:g}" for name, value in options.items() if name != "devices")

    @property
    def _table(self) -> Mapping[str, object]:
        table = self.settings["strategy"]
        assert isinstance(table, dict)
        return table

    @property
    def rounds(self) -> list[float]:
        """To the target, by seed; infinite where it was not reached."""
        reached = [crossing(range(len(each)), each, "accuracy", self.setting.target) for each in self.curves]
        return [math.inf if each is None else each for each in reached]

    @property
    def accuracies(self) -> list[float]:
        """At the end, by seed, in per cent."""
        return [100 * statistics.fmean(each[-LAST:]) for each in self.curves]


def as_text(found: Sequence[Found]) -> str:
    """Columns that line up, a table a setting."""
    return "\n\n".join(
        f"{_caption(setting)}\n{_aligned([COLUMNS, *map(_cells, of)])}" for setting, of in _tables(found)
    )


def as_markdown(found: Sequence[Found], rates: Sequence[float], strategies: Sequence[Strategy]) -> str:
    """The whole page."""
    head = _HEAD.format(
        clients=CLIENTS,
        cohort=COHORT,
        alpha=ALPHA,
        last=LAST,
        rates=_listed(rates),
        grids="; ".join(f"`{name}`: `{option}` {_listed(values)}" for name, option, values in strategies),
    )
    return head + "".join(
        f"\n## {_caption(setting)}\n\n{_how(setting)}\n\n{_markdown(of)}" for setting, of in _tables(found)
    )


def draw(found: Sequence[Found]) -> str:
    """As SVG: medians of the seeds, and their range; a panel a setting."""
    tables = _tables(found)
    figure = Figure(figsize=(10.0, 3.2 * -(-len(tables) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(tables) // 2), min(2, len(tables)), squeeze=False).flat
    for axes, (setting, of) in zip(panels, tables, strict=True):
        for each, colour in zip(of, COLOURS, strict=False):
            percent = 100 * np.array(each.curves)
            rounds = np.arange(percent.shape[1])
            axes.plot(rounds, np.median(percent, axis=0), color=colour, lw=1.1, label=each.strategy)
            axes.fill_between(rounds, percent.min(axis=0), percent.max(axis=0), color=colour, alpha=0.12, lw=0)
        axes.axhline(100 * setting.target, color="#9ca3af", linestyle=":", linewidth=1.0)
        axes.set(ylim=(70.0, 100.0), xlim=(0.0, setting.rounds), title=setting.title)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(loc="lower right", frameon=False, fontsize=8)
    figure.supxlabel("rounds", fontsize=9)
    figure.supylabel("test accuracy, %", fontsize=9)
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "fedloom", "svg.fonttype": "none"}):  # the same figures give the same file
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _tables(found: Sequence[Found]) -> list[tuple[Setting, list[Found]]]:
    return [(setting, list(of)) for setting, of in groupby(found, lambda each: each.setting)]


def _caption(setting: Setting) -> str:
    return f"{setting.title}: rounds to {setting.target:.0%}"


def _how(setting: Setting) -> str:
    return (
        f"{setting.epochs} local epochs with batches of {setting.batch}, {setting.rounds} rounds "
        f"({setting.tuning_rounds} to tune), {setting.seeds} seeds."
    )


def _cells(found: Found) -> tuple[str, ...]:
    rounds, accuracies = found.rounds, found.accuracies
    return (
        found.strategy,
        found.option,
        f"{found.settings['training.learning_rate']}",
        _count(statistics.median(rounds)),
        f"{_count(min(rounds))}–{_count(max(rounds))}",
        f"{statistics.median(accuracies):.1f}",
        f"{min(accuracies):.1f}–{max(accuracies):.1f}",
    )


def _count(rounds: float) -> str:
    return "—" if math.isinf(rounds) else f"{rounds:.0f}"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _markdown(found: Sequence[Found]) -> str:
    lines = [COLUMNS, ["---", "---", *["---:"] * (len(COLUMNS) - 2)]]
    lines += [(f"`{name}`", f"`{option}`", *rest) for name, option, *rest in map(_cells, found)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
