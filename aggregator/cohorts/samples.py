"""A device is drawn with a probability that grows with its samples: P(k) ∝ n_k, without replacement.

The paper draws with replacement and takes the plain mean of the models. A device has one vote a round here, and
`fedavg` weighs it by its samples once more.

Source: Li, Huang, Yang, Wang, Zhang 2020, "On the convergence of FedAvg on non-IID data", arXiv:1907.02189, scheme I.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from aggregator.cohorts.base import Positions, Rng
from aggregator.cohorts.figures import draw, sample_counts
from aggregator.records import Standing


class BySamples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Those with much data more often."""

    remembers: ClassVar[bool] = True
    counts_classes: ClassVar[bool] = False

    def pick(self, ready: Sequence[Standing], count: int, round_number: int, rng: Rng) -> Positions:
        """One weighted draw."""
        return draw(sample_counts(ready), count, rng)
