"""Power of choice: of d candidates, drawn with P(k) ∝ n_k, the m with the highest loss.

d = ⌈candidates · m⌉. This is the paper's π_rpow-d: the loss of a device is the one that it last trained with, so
nothing more has to be sent, and that of a device which was never asked is ∞, so that those come first. With 1 for
`candidates` it is `samples`; the more, the stronger the preference, and the further the model from that of all alike.

Source: Cho, Wang, Joshi 2020, "Client selection in federated learning: convergence analysis and power-of-choice
selection strategies", arXiv:2010.01243, section 3 and (for π_rpow-d) section 5.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from aggregator.cohorts.base import Positions, Rng
from aggregator.cohorts.figures import draw, mean_losses, sample_counts
from aggregator.records import Standing


class PowerOfChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Those for which the model is worst."""

    remembers: ClassVar[bool] = True
    counts_classes: ClassVar[bool] = False

    candidates: Annotated[float, msgspec.Meta(ge=1.0, le=1000.0)] = 2.0
    """Times the devices that are invited (d/m in the paper)."""

    def pick(self, ready: Sequence[Standing], count: int, round_number: int, rng: Rng) -> Positions:
        """Draw candidates, compare them."""
        candidates = draw(sample_counts(ready), min(len(ready), math.ceil(self.candidates * count - 1e-9)), rng)
        losses = mean_losses(ready)[candidates]
        return candidates[np.argsort(-losses, kind="stable")[:count]]
