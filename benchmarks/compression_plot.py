"""The picture of the compression benchmark: accuracy against bytes, a panel for each job, as SVG text."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#9ca3af"


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
        sizes = [point.bytes for point in points]
        for label, colour, shift, values in (
            ("hold-out", BLUE, 0.97, [point.holdout for point in points]),
            ("unseen", ORANGE, 1.03, [point.unseen for point in points]),
        ):
            means, deviations = np.array(values).T
            places = np.array(sizes) * shift
            axes.errorbar(places, means - means[0], deviations, fmt="o", ms=4, capsize=2, color=colour, label=label)
        axes.axhline(-1.0, color=GREY, linestyle=":", linewidth=1.0)
        for point in points:
            axes.annotate(point.name, (point.bytes, -2.95), rotation=90, ha="center", va="bottom", fontsize=7)
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
