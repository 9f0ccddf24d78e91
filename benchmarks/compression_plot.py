"""The picture of the compression benchmark: accuracy against bytes, a panel for each job, as SVG text."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

BLUE, ORANGE = "#2563eb", "#ea580c"


class Point(NamedTuple):
    """An encoding in a job; accuracies in per cent, mean and deviation over seeds."""

    name: str
    bytes: int
    unseen: tuple[float, float]
    holdout: tuple[float, float]


def plot(panels: Mapping[str, Sequence[Point]]) -> str:
    """Bytes of a device's vector in a round on a logarithmic axis, fewest on the right."""
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        sizes = [point.bytes for point in points]
        for label, colour, values in (
            ("hold-out", BLUE, [point.holdout for point in points]),
            ("unseen", ORANGE, [point.unseen for point in points]),
        ):
            means, deviations = zip(*values, strict=True)
            axes.errorbar(sizes, means, deviations, fmt="o", markersize=4, capsize=2, color=colour, label=label)
            axes.axhline(means[0] - 1.0, color=colour, linestyle=":", linewidth=1.0)
        bottom = min(point.unseen[0] for point in points)
        for point in points:
            axes.annotate(point.name, (point.bytes, bottom), (0, -14), textcoords="offset points", rotation=90,
                          ha="center", va="top", fontsize=7)  # fmt: skip
        axes.set(title=name, xscale="log", xlabel="bytes a device and round", ylabel="final accuracy, %")
        axes.set_ylim(bottom - 6.0)
        axes.invert_xaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "fedloom", "svg.fonttype": "none"}):  # the same figures give the same file
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
