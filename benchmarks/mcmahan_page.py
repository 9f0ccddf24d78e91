"""The table of mcmahan.py as text and as a page, and its picture."""

import io
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from mcmahan_run import SMALLER, TARGET, Cell, Result

BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#9ca3af"

_HEAD = """# The paper's table

How many rounds FedAvg needs to {target:.0%} accuracy on MNIST's test data, beside the rounds of the paper that
introduced it (McMahan et al. 2017, [arXiv:1602.05629](https://arxiv.org/abs/1602.05629), its tables for the 2NN). Made
by `benchmarks/mcmahan.py`; do not edit.

- The model is the paper's 2NN, 784-200-200-10, 199,210 weights; 100 clients of 600 images; a share C of them is drawn
  in each round (0 is one client) and trains for E epochs with batches of B. *Non-IID*: the images, sorted by digit, are
  cut into 200 pieces of which each client gets two.
- As in the paper the curve of accuracies is made monotone, the crossing is interpolated between two rounds, and the
  learning rate is tuned for each cell: here over {rates}, with a seed of its own.
- Ours are the median and the range of {seeds} seeds: each decides on the partition, the first weights, the clients and
  the order of their images. The paper gives one figure a cell.

"""

_TAIL = """
![Accuracy by rounds](mcmahan.svg)

## By learning rate

Rounds with the tuning seed; — is more than the paper's.

{tuning}

## Where the difference comes from

Model, data, partition, algorithm and the way of counting are the paper's, and rounds are counted here, not seconds.
What the paper leaves open we had to choose: pixels are divided by 255 and not centred, first weights are He uniform in
the hidden layers (He et al. 2015, [arXiv:1502.01852](https://arxiv.org/abs/1502.01852)) and Glorot uniform in the last,
biases begin at zero. The paper does not tell the learning rates that it found best.

The two together decide. The last line of both tables is the first with weights that begin {scale:g} times as large,
which in the hidden layers is U(±1/√n) with n inputs, the older custom: with a small learning rate it needs about as
many rounds as the paper, with a large one little more than ours. So we take it that most of the difference is in the
learning rates, and some in the first weights; we cannot tell for certain.

Clients do not differ in size: all have 600 images, so that weighing by samples changes nothing. Like the paper we tune,
and stop, by the test data, which is right for counting rounds and would be wrong for claiming an accuracy.
"""


class Found(NamedTuple):
    """A line of the table."""

    cell: Cell
    learning_rate: float
    results: list[Result]
    """With each seed."""
    tuning: dict[float, float | None]
    """Rounds by learning rate."""

    @property
    def is_met(self) -> bool:
        """Whether the median is no worse than the paper's; nobody expects it of other first weights."""
        return self.median <= self.cell.paper or self.cell.scale != 1.0

    @property
    def median(self) -> float:
        """Rounds; infinite where most seeds do not get there."""
        return statistics.median(self.rounds)

    @property
    def rounds(self) -> list[float]:
        """By seed; infinite where the target was not reached."""
        return [float("inf") if each.rounds is None else each.rounds for each in self.results]


COLUMNS = ("data", "C", "E", "B", "paper", "median", "range", "fewer", "learning rate")


def as_text(found: Sequence[Found]) -> str:
    """Columns that line up."""
    lines = [COLUMNS, *map(_cells, found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def as_markdown(found: Sequence[Found]) -> str:
    """The whole page."""
    rates = sorted(found[0].tuning)
    names = ", ".join(f"{rate:g}" for rate in rates)
    head = _HEAD.format(target=TARGET, rates=names, seeds=len(found[0].results))
    tuned = [("data", "C", "E", "B", *(f"{rate:g}" for rate in rates))]
    tuned += [(*_setting(each.cell), *(_or_dash(each.tuning[rate]) for rate in rates)) for each in found]
    tail = _TAIL.format(tuning=_table(tuned), scale=SMALLER)
    return head + _table([COLUMNS, *map(_cells, found)]) + tail


def draw(found: Sequence[Found]) -> str:
    """As SVG: the monotone curves of all seeds, and the paper's rounds as a line; a panel a cell."""
    figure = Figure(figsize=(11.0, 2.2 * -(-len(found) // 4)), layout="constrained")
    panels = figure.subplots(-(-len(found) // 4), min(4, len(found)), squeeze=False)
    for axes in panels.flat[len(found) :]:
        axes.set_axis_off()
    for axes, each in zip(panels.flat, found, strict=False):
        for result in each.results:
            axes.plot(
                np.arange(1, len(result.curve) + 1), 100 * np.maximum.accumulate(result.curve), color=BLUE, lw=0.8
            )
        axes.axhline(100 * TARGET, color=GREY, linestyle=":", linewidth=1.0)
        axes.axvline(each.cell.paper, color=ORANGE, linewidth=1.2)
        data, share, epochs, batch = _setting(each.cell)
        axes.set_title(f"{data}, C={share}, E={epochs}, B={batch}", fontsize=8)
        axes.set(ylim=(88.0, 98.0), xlim=(0.0, each.cell.paper * 1.08))
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("rounds; the paper's: orange", fontsize=8)
    figure.supylabel("best accuracy so far, %", fontsize=8)
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "fedloom", "svg.fonttype": "none"}):  # the same figures give the same file
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _cells(found: Found) -> tuple[str, ...]:
    low, high = min(found.rounds), max(found.rounds)
    times = f"{found.cell.paper / found.median:.1f} ×"
    spread = f"{_or_dash(low)}–{_or_dash(high)}"
    return (
        *_setting(found.cell),
        str(found.cell.paper),
        _or_dash(found.median),
        spread,
        times,
        f"{found.learning_rate:g}",
    )


def _setting(cell: Cell) -> tuple[str, str, str, str]:
    data = "IID" if cell.is_iid else "non-IID"
    if cell.scale != 1.0:
        data += f", first weights × {cell.scale:g}"
    return data, f"{cell.share:g}", str(cell.epochs), str(cell.batch)


def _or_dash(rounds: float | None) -> str:
    return "—" if rounds in (None, float("inf")) else f"{rounds:.0f}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---:"] * len(lines[0])
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:])) + "\n"
