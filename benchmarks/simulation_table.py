"""What `simulation.py` has found, as text."""

from collections.abc import Sequence
from typing import NamedTuple

from simulation_growth import Case
from simulation_sides import OURS, SIDES, Measured, Model

Found = dict[tuple[str, int], Measured]
"""By side and clients a round."""
WORDS = ("side", "setting", "kernels, versions")
"""Columns that have no numbers."""
TOLERANCE = 0.1
"""Sides draw their samples in different orders: so much may one have learnt more or less than ours in a round."""


class Grown(NamedTuple):
    """One line of how cost grows."""

    case: Case
    first_s: float
    """Until the first round was over."""
    round_s: float
    """The fastest of those after it."""
    peak_mib: float


def table(model: Model, found: Found) -> str:
    """A line for each side and number of clients."""
    steps = f"{model.samples} samples a client, batches of {model.batch}"
    lines: list[tuple[str, ...]] = [
        (
            "side",
            "setting",
            "clients",
            "client-rounds/s",
            "ours ÷",
            "learnt ÷",
            "peak MiB",
            "cold, s",
            "kernels, versions",
        )
    ]
    lines += [_cells(found, side, clients) for side, clients in found]
    return "\n".join([f"{model.name}, {'-'.join(map(str, model.widths))}, {steps}", _lined_up(lines)])


def all_learnt(found: Found) -> bool:
    """Whether every side that trains has done what ours has."""
    training = {side.name for side in SIDES if side.trains}
    return all(
        abs(each.learnt / found[OURS.name, clients].learnt - 1.0) < TOLERANCE
        for (side, clients), each in found.items()
        if side in training and (OURS.name, clients) in found
    )


def growth_table(grown: Sequence[Grown]) -> str:
    """A line for each case."""
    lines = [("clients", "a round", "weights", "ms a round", "µs a client", "first round, s", "peak MiB")]
    for each in grown:
        case = each.case
        sizes = f"{case.clients:,}", f"{case.cohort:,}", f"{case.weights:,}"
        times = f"{1e3 * each.round_s:,.2f}", f"{1e6 * each.round_s / case.cohort:,.1f}", f"{each.first_s:.2f}"
        lines.append((*sizes, *times, f"{each.peak_mib:,.0f}"))
    return "as it grows, 20 samples a client, batches of 10, one worker\n" + _lined_up(lines)


def _cells(found: Found, side: str, clients: int) -> tuple[str, ...]:
    each, ours = found[side, clients], found.get((OURS.name, clients))
    ratio = learnt = ""
    if ours and side != OURS.name:
        ratio = f"{ours.client_rounds_per_s / each.client_rounds_per_s:,.1f} ×"
        learnt = f"{each.learnt / ours.learnt:.2f}"
    versions = " ".join(f"{name} {version}" for name, version in each.versions.items())
    rate = f"{each.client_rounds_per_s:,.0f}"
    costs = f"{each.peak_mib:,.0f}", f"{each.cold_s:.1f}"
    return side, each.setting, f"{clients:,}", rate, ratio, learnt, *costs, f"{each.core}, {versions}"


def _lined_up(lines: Sequence[tuple[str, ...]]) -> str:
    """Numbers to the right, words to the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.ljust if name in WORDS else str.rjust for name in lines[0]]
    texts = [
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([texts[0], "  ".join("─" * width for width in widths), *texts[1:]])
