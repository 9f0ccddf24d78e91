"""Bucketing, a pre-step: updates are put into buckets of s by chance, and the mean of each bucket takes their place. So
honest devices whose data differ look more alike, at the price that each attacker spoils a bucket.

Chance is a hash of the round's updates: whoever fuses them again draws the same, and no device, which knows its own
update alone, can choose its bucket.

Source: Karimireddy, He, Jaggi 2022, "Byzantine-robust learning on heterogeneous datasets via bucketing", ICLR,
arXiv:2006.09365, algorithm 1.
"""

from hashlib import sha256
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from strategies.base import Updates, total_samples
from strategies.mixed import Mixed
from strategies.tiles import tiles


class Bucketing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Samples do not weigh in."""

    is_asynchronous: ClassVar[bool] = False
    mixes: ClassVar[bool] = True

    bucket_size: Annotated[int, msgspec.Meta(ge=1)] = 2
    """s; the last bucket may have fewer."""

    def prepare(self, updates: Updates, size: int) -> Updates:
        """One pass for the hash."""
        total_samples(updates)  # refuses a round in which nobody has trained
        order = shuffled(updates, size)
        buckets = [order[first : first + self.bucket_size] for first in range(0, len(order), self.bucket_size)]
        shares = np.zeros((len(buckets), len(order)), np.float32)
        for share, bucket in zip(shares, buckets, strict=True):
            share[bucket] = 1.0 / len(bucket)
        return Mixed(updates, shares, size)

    def fewest_for(self, handed_on: int) -> int:
        """The last bucket may hold one update alone.

        >>> Bucketing(bucket_size=3).fewest_for(4)
        10
        """
        return (handed_on - 1) * self.bucket_size + 1


def shuffled(updates: Updates, size: int) -> NDArray[np.intp]:
    """The numbers of the updates, in an order that depends on all of them; by hashes, which no release changes."""
    hashes = [sha256() for _ in range(len(updates))]
    for tile in tiles(updates, size):
        for each, row in zip(hashes, tile.deltas, strict=True):
            each.update(row.astype("<f4", copy=False).data)
    own = [each.digest() for each in hashes]
    drawn = sha256(b"".join(own)).digest()
    return np.array(sorted(range(len(own)), key=lambda number: sha256(drawn + own[number]).digest()))
