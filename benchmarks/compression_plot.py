"""The picture of the compression benchmark: accuracy against bytes, a panel for each job, as SVG text."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#9ca3af"
READABLE = 1.22
"""Ratio of two neighbours' places in the picture, at least."""


class Point(NamedTuple):
    """An encoding in a job; accuracies in per cent, mean and deviation over seeds."""

    name: str
    bytes: int
    unseen: tuple[float, float]
    holdout: tuple[float, float]


def plot(panels: Mapping[str, Sequence[Point]]) -> str:
    """Points of accuracy beside the first encoding by bytes, on a logarithmic axis with the fewest on the right."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        sizes = np.array(_apart([point.bytes for point in points]))
        for label, colour, shift, values in (
            ("hold-out", BLUE, 0.97, [point.holdout for point in points]),
            ("unseen", ORANGE, 1.03, [point.unseen for point in points]),
        ):
            means, deviations = np.array(values).T
            means -= means[0]
            axes.errorbar(sizes * shift, means, deviations, fmt="o", ms=4, capsize=2, color=colour, label=label)
        axes.axhline(-1.0, color=GREY, linestyle=":", linewidth=1.0)
        for point, size in zip(points, sizes, strict=True):
            axes.annotate(point.name, (size, -2.95), rotation=90, ha="center", va="bottom", fontsize=7)
        axes.set(title=name, xscale="log", xlabel="bytes a device and round", ylim=(-3.0, 2.0))
        axes.set_ylabel("final accuracy beside float32, points")
        axes.minorticks_off()
        axes.invert_xaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "fedloom", "svg.fonttype": "none"}):  # the same figures give the same file
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _apart(sizes: Sequence[int]) -> list[float]:
    """Where each is drawn: a pair of nearly the same size apart, so that both can be read."""
    places = list(map(float, sizes))
    for number in range(1, len(places)):
        if places[number] * READABLE > places[number - 1]:
            middle = (places[number] * places[number - 1]) ** 0.5
            places[number - 1 : number + 1] = [middle * READABLE**0.5, middle / READABLE**0.5]
    return places
