"""Pictures of a partition: how many samples each client has, and of which classes."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from simulation.population.summary import Summary

_BARS = 100
"""Clients up to which each is a bar, in the order of their numbers; more are an area, in the order of their sizes."""
_NAMED = 30
"""Classes up to which each is named."""


def figure(summary: Summary, classes: Sequence[str], title: str) -> Figure:
    """Sizes above; below, where there are classes, a heat map of each client's mixture of them."""
    rows = 1 if summary.counts is None else 2
    drawing = Figure(figsize=(8.0, 2.6 * rows + 0.6), layout="constrained")
    axes = drawing.subplots(rows, sharex=True, squeeze=False)[:, 0]
    drawing.suptitle(title)
    has_bars = len(summary.ids) <= _BARS
    order = np.arange(len(summary.ids)) if has_bars else np.argsort(-summary.training, kind="stable")
    if has_bars:
        _draw_bars(axes[0], summary, classes)
    else:
        axes[0].fill_between(np.arange(len(order)), summary.training[order], step="mid", alpha=0.6, linewidth=0)
    axes[0].set(ylabel="training samples", ylim=(0, None))
    axes[0].spines[["top", "right"]].set_visible(False)
    if summary.counts is not None:
        _draw_mixtures(drawing, axes[1], summary.shares[order], classes)
    looked_at = "" if len(order) == summary.clients else f"{len(order):,} of {summary.clients:,} "
    axes[-1].set_xlabel("client" if has_bars else f"{looked_at}clients, by size")
    return drawing


def _draw_bars(axes: Axes, summary: Summary, classes: Sequence[str]) -> None:
    columns = summary.training[None] if summary.counts is None else summary.counts.T
    below = np.zeros(len(summary.ids))
    for number, column in enumerate(columns):
        colour = colormaps["turbo"]((number + 0.5) / len(columns))
        axes.bar(np.arange(len(below)), column, 0.9, bottom=below, color=colour)
        below += column
    if 0 < len(classes) <= _NAMED:
        axes.legend(classes, frameon=False, fontsize=7, ncols=1 + len(classes) // 11, bbox_to_anchor=(1.0, 1.0))


def _draw_mixtures(drawing: Figure, axes: Axes, shares: NDArray[np.float64], classes: Sequence[str]) -> None:
    image = axes.imshow(shares.T, aspect="auto", cmap="viridis", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_ylabel("class")
    if len(classes) <= _NAMED:
        axes.set_yticks(range(len(classes)), classes, fontsize=7)
    drawing.colorbar(image, ax=axes, label="share of the client's samples", pad=0.01)
