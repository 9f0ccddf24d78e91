"""What every rule is that draws the devices of a round: a pure function of what is known of those that are ready."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from aggregator.records import Standing

Rng = np.random.Generator
Positions = NDArray[np.intp]
"""(m,) which of the ready devices; each at most once."""


class Rule(Protocol):
    """One way to draw a cohort. All its randomness is `rng`."""

    remembers: ClassVar[bool]
    """Whether it looks at more of a device than its id; if not, nothing is kept."""
    counts_classes: ClassVar[bool]
    """Whether it looks at how many samples of each class a device has."""

    def pick(self, ready: Sequence[Standing], count: int, round_number: int, rng: Rng) -> Positions:
        """`count` of the ready devices, of which there are at least so many, for a training round.

        They stand in an order that was drawn uniformly: whoever takes the first of equals is fair.
        """
        ...
