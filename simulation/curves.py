"""Learning curves: the best so far, and when a curve reaches a value.

As McMahan et al. 2017 (arXiv:1602.05629, section 3) count rounds to a target: make the curve monotone by taking the
best value of all rounds until then, and interpolate between the two rounds around the crossing.
"""

import math
from collections.abc import Sequence

from fedloom.learning.metrics import lower_is_better


def best_so_far(values: Sequence[float], figure: str) -> list[float]:
    """The best value until each place; NaN until there is one.

    >>> best_so_far([0.5, 0.25, 0.75], "accuracy"), best_so_far([0.5, 0.25, 0.75], "loss")
    ([0.5, 0.5, 0.75], [0.5, 0.25, 0.25])
    """
    sign = -1.0 if lower_is_better(figure) else 1.0
    best, found = math.nan, []
    for value in values:
        best = value if math.isnan(best) or sign * value > sign * best else best
        found.append(best)
    return found


def crossing(places: Sequence[float], values: Sequence[float], figure: str, target: float) -> float | None:
    """The place at which the curve, made monotone, first reaches `target`; None if it never does.

    >>> crossing([0, 10, 20], [0.1, 0.5, 0.9], "accuracy", 0.7)
    15.0
    """
    sign = -1.0 if lower_is_better(figure) else 1.0
    before: tuple[float, float] | None = None
    for place, value in zip(places, best_so_far(values, figure), strict=True):
        if sign * value >= sign * target:
            if before is None:
                return float(place)
            share = (target - before[1]) / (value - before[1])
            return before[0] + share * (place - before[0])
        if not math.isnan(value):
            before = (place, value)
    return None
