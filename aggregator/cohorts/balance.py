"""A cohort whose samples are spread evenly over the classes: devices are drawn one after the other, each with

    P(k | S) ∝ QCID(S ∪ {k})^(−β),   QCID(S) = Σ_b (Σ_S n_k · α_kb / Σ_S n_k − 1/B)²

n_k samples, the share α_kb of them of class b, B classes. β rises from 0 for the first device to `sharpness` for the
last: the first are anybody, so that each device gets its turn, and the last complete them, where a greedy choice would
fill the cohort with devices that are fairly even by themselves.

Which classes a device has is read off the metrics of its hold-out, which its update carries anyway; a device that has
evaluated nothing yet counts as the mix of the others. The paper keeps the counts secret by homomorphic encryption, and
adds a bonus for devices that were seldom drawn: neither is here.

Source: Zhang et al. 2023, "Fed-CBS: a heterogeneity-aware client sampling mechanism for federated learning via
class-imbalance reduction", ICML, arXiv:2209.15245, definition of QCID and section 3.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from aggregator.cohorts.base import Positions, Rng
from aggregator.cohorts.figures import Numbers, sample_counts
from aggregator.records import Standing

_EVEN = 1e-6
"""QCID below which a cohort is as good as even."""


class ClassBalance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Devices whose classes complete each other."""

    remembers: ClassVar[bool] = True
    counts_classes: ClassVar[bool] = True

    sharpness: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] = 10.0
    """How surely the last device is the one that completes the cohort best (β); 0 is `uniform`."""

    def pick(self, ready: Sequence[Standing], count: int, round_number: int, rng: Rng) -> Positions:
        """O(n · B) for each device that is drawn."""
        rows = samples_by_class(ready)
        facts = np.vstack([rows.T, rows.sum(axis=1), np.square(rows).sum(axis=1)])
        total, positions = np.zeros(rows.shape[1]), np.arange(len(ready))
        picked = np.empty(count, np.intp)
        for place, left in enumerate(range(len(ready), len(ready) - count, -1)):
            sharpness = self.sharpness * place / max(count - 1, 1)
            one = _draw(imbalance(total, facts[:, :left]), sharpness, rng)
            picked[place] = positions[one]
            total += facts[:-2, one]
            positions[one], facts[:, one] = positions[left - 1], facts[:, left - 1]  # out of those that are left
        return picked


def imbalance(total: Numbers, facts: Numbers) -> Numbers:
    """(n,) QCID of samples by class (B,) and those of one device more: (B + 2, n) by class, their sum, that of squares.

    >>> imbalance(np.array([5.0, 5.0]), np.array([[5.0, 10.0], [5.0, 0.0], [10.0, 10.0], [50.0, 100.0]]))
    array([0.   , 0.125])
    """
    squares = total @ total + 2.0 * (total @ facts[:-2]) + facts[-1]
    result: Numbers = squares / np.square(total.sum() + facts[-2]) - 1.0 / total.size
    return result


def _draw(uneven: Numbers, sharpness: float, rng: Rng) -> int:
    """A position with P ∝ QCID^(−sharpness); the powers in float32, which are many and need no more."""
    ratios = uneven + _EVEN
    ratios /= ratios.min()
    mass = np.cumsum(np.exp(-np.float32(sharpness) * np.log(ratios.astype(np.float32))), dtype=np.float64)
    return int(np.searchsorted(mass, (1.0 - rng.random()) * mass[-1]))  # of nothing below a mass above 0


def samples_by_class(ready: Sequence[Standing]) -> Numbers:
    """(n, B) n_k · α_kb; one class where nobody has told anything."""
    width = max((len(each.class_counts) for each in ready), default=0)
    told = [position for position, each in enumerate(ready) if sum(each.class_counts)]
    if not told:
        return np.ones((len(ready), max(width, 1)))
    counts = np.array([ready[position].class_counts for position in told], np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    rows = np.tile(shares.mean(axis=0), (len(ready), 1))
    rows[told] = shares
    return rows * sample_counts(ready)[:, None]
