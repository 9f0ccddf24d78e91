"""Pictures of runs, readable on light and on dark ground: nothing is drawn behind them.

As SVG text, lines and letters have the colour of the text around them. A Figure, as notebooks show it, cannot know that
colour, and has a grey that can be read on both.
"""

import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulation.history import Axis, History
from simulation.units import unit_of

BLUE, ORANGE, GREY, GREEN = "#3b82f6", "#ea580c", "#9ca3af", "#059669"
COLOURS = (BLUE, ORANGE, GREEN, "#a855f7", "#db2777", "#ca8a04", "#0891b2", "#65a30d")
INK = "#7a7b7c"
"""Of axes and letters: its contrast is above 4 to 1 on white and on black."""
_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color",
          "grid.color", "legend.labelcolor")  # fmt: skip
_STYLE = dict.fromkeys(_INKED, INK) | {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",  # letters stay letters: smaller, and found by a search in the page
    "svg.hashsalt": "fedloom",  # the same figure gives the same text
}


def run_curves(history: History, figures: Sequence[str], against: Axis) -> Figure:
    """Figures of one run against rounds or a cost."""
    spent = history.spent(against)
    unit = unit_of(against, max(spent, default=0.0))
    places = [place / unit.size for place in spent]
    with canvas(7.2, 3.4) as (figure, axes):
        for name, colour in zip(figures, itertools.cycle(COLOURS), strict=False):
            axes.plot(places, history.series(name), color=colour, marker="o", markersize=3, label=name)
        axes.set(xlabel=unit.titled(against), ylabel=figures[0] if len(figures) == 1 else "", title=history.job)
        if len(figures) > 1:
            axes.legend()
    return figure


def learning_curve(rounds: Sequence[int], accuracy: Sequence[float], references: Sequence[tuple[str, float]]) -> str:
    """Federated accuracy on the devices' own hold-outs by round; references are dashed lines."""
    with canvas(7.2, 3.4) as (figure, axes):
        percent = [100 * value for value in accuracy]
        axes.plot(rounds, percent, color=BLUE, marker="o", markersize=3, label="federated")
        for (name, value), colour in zip(references, (GREEN, ORANGE), strict=False):
            axes.axhline(100 * value, color=colour, linestyle="--", linewidth=1.2, label=name)
        axes.set(xlabel="round", ylabel="accuracy on everybody's own hold-out, %")
        axes.legend(loc="lower right")
    return svg(figure)


def comparison(groups: Sequence[str], alone: Sequence[Sequence[float]], federated: Sequence[float],
               pooled: Sequence[float]) -> str:  # fmt: skip
    """For each test set: every device alone as a dot, their mean as a bar, beside federated and pooled."""
    with canvas(7.2, 3.4) as (figure, axes):
        for place, group in enumerate(alone):
            mean = sum(group) / len(group)
            label = "alone (mean, each a dot)" if not place else None
            axes.bar(place - 0.26, 100 * mean, 0.24, color=GREY, label=label)
            axes.scatter([place - 0.26] * len(group), [100 * value for value in group], color=INK, s=9, zorder=3)
            axes.bar(place, 100 * federated[place], 0.24, color=BLUE, label="federated" if not place else None)
            axes.bar(place + 0.26, 100 * pooled[place], 0.24, color=GREEN, label="pooled" if not place else None)
            for offset, value in ((-0.26, mean), (0.0, federated[place]), (0.26, pooled[place])):
                axes.text(place + offset, 50 * value, f"{100 * value:.1f}", ha="center", color="white", fontsize=10)
        axes.set(xticks=range(len(groups)), xticklabels=groups, ylabel="accuracy, %", ylim=(0, 120))
        axes.legend(ncols=3, loc="upper center")
    return svg(figure)


@contextmanager
def canvas(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """An empty figure of so many inches, to be drawn in within the context."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        axes = figure.subplots(subplot_kw={"facecolor": "none"})
        axes.grid(axis="y")
        yield figure, axes


def svg(figure: Figure) -> str:
    """The figure as an element for a page, in whose colour of text its axes and letters are."""
    text = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :].replace(INK, "currentColor")
