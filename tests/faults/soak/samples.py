"""What the processes use, sampled; and whether that grows: a straight line with its confidence bound."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

BLOCKS = 20
_T_975 = 2.101
"""Student's t for 18 degrees of freedom: a line through BLOCKS points."""
SETTLED_S = 10.0
"""A process is younger than that while it still loads what it needs: its memory says nothing about leaks."""
WARM_UP = 0.2
"""Share of the run that is not looked at: caches fill."""


class Sample(NamedTuple):
    """A process at a moment."""

    at_s: float
    """Since the start of the run."""
    age_s: float
    rss_bytes: int
    descriptors: int


class Slope(NamedTuple):
    """A line through what was measured."""

    mean: float
    per_hour: float
    bound: float
    """The slope is within ± this, with 95 % confidence."""


def look(pid: int, at_s: float, age_s: float) -> Sample | None:
    """Sample a process; None: it is gone."""
    try:
        process = psutil.Process(pid)
        return Sample(at_s, age_s, process.memory_info().rss, process.num_fds())
    except psutil.Error:
        return None


def settled(samples: Sequence[Sample], end_s: float) -> list[Sample]:
    """Those that say whether something grows."""
    return [each for each in samples if each.age_s >= SETTLED_S and each.at_s >= WARM_UP * end_s]


def slope(points: Sequence[tuple[float, float]]) -> Slope | None:
    """Fit values over seconds; None where there are too few.

    Neighbouring samples are alike, so a bound from all of them would be far too narrow: the line goes through the
    medians of BLOCKS stretches of equal count instead. A process that still starts, on a busy machine, is an outlier.
    """
    if len(points) < 3 * BLOCKS:
        return None
    blocks = np.array([np.median(block, axis=0) for block in np.array_split(np.array(sorted(points)), BLOCKS)])
    hours, values = blocks[:, 0] / 3600, blocks[:, 1]
    centred = hours - hours.mean()
    spread = float(centred @ centred)
    if spread == 0.0:
        return None
    per_hour = float(centred @ values) / spread
    rest = values - values.mean() - per_hour * centred
    bound = _T_975 * float(np.sqrt(rest @ rest / (BLOCKS - 2) / spread))
    return Slope(float(values.mean()), per_hour, bound)


def size_of(directory: Path) -> int:
    """Bytes of all files below a directory that others write at the same time."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # it was replaced in between
    return total
