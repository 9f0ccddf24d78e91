"""What devices claim of themselves, as a rule may look at it: bounded, so that no claim beats all others by its size.

A claim above the 95 % quantile counts as that (Lai et al. 2021, arXiv:2010.06081, section 4.4), and the highest claim
never counts for more than the second highest: among a few devices, a quantile would be the liar's own figure.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aggregator.cohorts.base import Positions, Rng
from aggregator.records import Standing

Numbers = NDArray[np.float64]
QUANTILE = 0.95


def capped(values: Numbers) -> Numbers:
    """(n,) the values, none above the quantile nor above the second highest; NaN, for what is not known, stays.

    >>> capped(np.array([1.0, 9e9, 2.0, np.nan]))
    array([ 1.,  2.,  2., nan])
    """
    known = np.sort(values[~np.isnan(values)])
    if known.size < 2:
        return values
    highest = known[min(int(np.ceil(QUANTILE * known.size)) - 1, known.size - 2)]
    result: Numbers = np.minimum(values, highest)
    return result


def sample_counts(ready: Sequence[Standing]) -> Numbers:
    """(n,) samples that each trains on; who has not told counts as the median of the others."""
    counts = capped(np.array([each.samples or np.nan for each in ready], np.float64))
    return np.where(np.isnan(counts), _median(counts, 1.0), counts)


def mean_losses(ready: Sequence[Standing]) -> Numbers:
    """(n,) loss a sample; ∞ for those that were never asked.

    Who was asked in vain since it last told has at most the median: it keeps no place among the first by its silence.
    """
    losses = capped(np.array([np.nan if each.loss is None else each.loss for each in ready], np.float64))
    in_vain = np.array([each.asked > each.answered for each in ready], np.bool_)
    is_new = np.array([each.asked == each.answered == 0 for each in ready], np.bool_)
    median = _median(losses, 0.0)
    losses = np.where(in_vain | np.isnan(losses), np.fmin(losses, median), losses)
    return np.where(is_new, np.inf, losses)


def draw(weights: Numbers, count: int, rng: Rng) -> Positions:
    """`count` different positions, one after the other with probability ∝ weight among those that are left.

    Weights are not negative; those of 0 come last, in their order.

    Source: Efraimidis, Spirakis 2006, "Weighted random sampling with a reservoir", doi:10.1016/j.ipl.2005.11.003.
    """
    with np.errstate(divide="ignore"):
        arrival = rng.exponential(size=weights.size) / weights
    return np.argsort(arrival, kind="stable")[:count]


def _median(values: Numbers, otherwise: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else otherwise
