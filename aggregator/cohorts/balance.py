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
        total = np.zeros(rows.shape[1])
        is_left = np.ones(len(ready), np.bool_)
        picked = np.empty(count, np.intp)
        for place in range(count):
            sharpness = self.sharpness * place / max(count - 1, 1)
            score = -sharpness * np.log(imbalance(total + rows) + _EVEN) + rng.gumbel(size=len(ready))
            picked[place] = np.argmax(np.where(is_left, score, -np.inf))  # a draw with P ∝ exp(score) without the noise
            is_left[picked[place]] = False
            total += rows[picked[place]]
        return picked


def imbalance(samples: Numbers) -> Numbers:
    """(n,) QCID of each row of samples by class (n, B).

    >>> imbalance(np.array([[5.0, 5.0], [10.0, 0.0]]))
    array([0. , 0.5])
    """
    shares = samples / samples.sum(axis=1, keepdims=True)
    result: Numbers = np.square(shares - 1.0 / samples.shape[1]).sum(axis=1)
    return result


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
