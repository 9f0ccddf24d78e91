"""The demo's pictures, as SVG text: accuracy by round, and alone beside federated beside pooled."""

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREY, GREEN = "#2563eb", "#ea580c", "#9ca3af", "#059669"


def learning_curve(rounds: Sequence[int], accuracy: Sequence[float], references: Sequence[tuple[str, float]]) -> str:
    """Federated accuracy on the devices' own hold-outs by round; references are dashed lines."""
    figure, axes = _canvas(7.2, 3.4)
    axes.plot(rounds, [100 * value for value in accuracy], color=BLUE, marker="o", markersize=3, label="federated")
    for (name, value), colour in zip(references, (GREEN, ORANGE), strict=False):
        axes.axhline(100 * value, color=colour, linestyle="--", linewidth=1.2, label=name)
    axes.set(xlabel="round", ylabel="accuracy on everybody's own hold-out, %")
    axes.legend(frameon=False, loc="lower right")
    return _svg(figure)


def comparison(groups: Sequence[str], alone: Sequence[Sequence[float]], federated: Sequence[float],
               pooled: Sequence[float]) -> str:  # fmt: skip
    """For each test set: every device alone as a dot, their mean as a bar, beside federated and pooled."""
    figure, axes = _canvas(7.2, 3.4)
    for place, group in enumerate(alone):
        mean = sum(group) / len(group)
        axes.bar(place - 0.26, 100 * mean, 0.24, color=GREY, label="alone (mean, each a dot)" if not place else None)
        axes.scatter([place - 0.26] * len(group), [100 * value for value in group], color="black", s=9, zorder=3)
        axes.bar(place, 100 * federated[place], 0.24, color=BLUE, label="federated" if not place else None)
        axes.bar(place + 0.26, 100 * pooled[place], 0.24, color=GREEN, label="pooled" if not place else None)
        for offset, value in ((-0.26, mean), (0.0, federated[place]), (0.26, pooled[place])):
            axes.text(place + offset, 50 * value, f"{100 * value:.1f}", ha="center", color="white", fontsize=10)
    axes.set(xticks=range(len(groups)), xticklabels=groups, ylabel="accuracy, %", ylim=(0, 120))
    axes.legend(frameon=False, ncols=3, loc="upper center")
    return _svg(figure)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    return figure, axes


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "fedloom"}):  # the same figures give the same file
        figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]
