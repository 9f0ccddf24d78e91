"""A fusion rule of your own: devices weigh by samples^power, so that the largest does not have the last word."""

from typing import Annotated, ClassVar

import msgspec

from strategies.base import Direction, Updates, total_samples
from strategies.summing import weighted_sum


class TemperedMean(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """With power 1 it is FedAvg; with 0 all devices weigh the same."""

    is_asynchronous: ClassVar[bool] = False
    power: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.5

    def combine(self, updates: Updates, size: int) -> Direction:
        """One pass, in memory that does not grow with the number of updates."""
        total_samples(updates)
        total = sum(samples**self.power for samples in updates.samples)
        return weighted_sum(size, updates, lambda update: update.samples**self.power / total)
