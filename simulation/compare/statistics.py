"""Means over repetitions, with how sure they are."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from scipy.special import stdtrit


class Interval(msgspec.Struct, frozen=True):
    """A mean with its 95 % confidence interval, mean ± half_width (Student 1908: t distribution, count − 1 degrees)."""

    mean: float
    half_width: float | None
    """None of one value, which says nothing about how much others would differ."""
    count: int


def interval(values: Sequence[float]) -> Interval | None:
    """Of values of independent runs; those that are not finite are left out, and None if there is no other.

    >>> found = interval([1.0, 2.0, 3.0])
    >>> f"{found.mean} ± {found.half_width:.3f}, {found.count}"
    '2.0 ± 2.484, 3'
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    mean = float(np.mean(finite))
    if len(finite) == 1:
        return Interval(mean, None, 1)
    deviation = float(np.std(finite, ddof=1))
    return Interval(mean, float(stdtrit(len(finite) - 1, 0.975)) * deviation / math.sqrt(len(finite)), len(finite))
