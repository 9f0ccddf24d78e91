"""Every ready device is as likely as every other.

Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas 2017, "Communication-efficient learning of deep networks from
decentralized data", arXiv:1602.05629, algorithm 1 (S_t).
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec
import numpy as np

from aggregator.cohorts.base import Positions, Rng
from aggregator.records import Standing


class Uniform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Knows nothing of the devices."""

    remembers: ClassVar[bool] = False
    counts_classes: ClassVar[bool] = False

    def pick(self, ready: Sequence[Standing], count: int, round_number: int, rng: Rng) -> Positions:
        """The first: their order was drawn."""
        return np.arange(count)
