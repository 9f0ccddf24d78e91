"""One seed decides everything: what is built, what breaks, and when."""

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Rates(NamedTuple):
    """How likely a fault is at each opportunity, in [0, 1]; 0 is never. A seed has some kinds of fault, not all."""

    kill: float = 0.0
    """Between two actions, around each fsync, before each statement of the database."""
    power: float = 0.0
    """Of a process that dies: its machine loses its power with it."""
    disk: float = 0.0
    """Full, or EIO, at a write or an fsync."""
    drop: float = 0.0
    """A message, by the broker."""
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    slow: float = 0.0
    """A message that takes seconds, or minutes."""
    gremlin: float = 0.0
    """That what happens every few seconds is a partition, a cut, a broker without memory, an old copy of a state."""
    straggler: float = 0.0
    """A device that trains for longer than a round lasts."""
    decline: float = 0.0


class Dice:
    """The only source of chance; nothing breaks any more once `heal` was called."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.rates = Rates()
        self.left = 0
        """Processes that may still die, and disks that may still fail."""

    def heal(self) -> None:
        self.rates, self.left = Rates(), 0

    def chance(self, probability: float) -> bool:
        return probability > 0.0 and self._random.random() < probability

    def serious(self, probability: float) -> bool:
        """Like `chance`, for a fault after which a process has to be started again: there are only so many."""
        if self.left <= 0 or not self.chance(probability):
            return False
        self.left -= 1
        return True

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def draw(self) -> float:
        return self._random.random()

    def below(self, bound: int) -> int:
        return self._random.randrange(bound)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self._random.randrange(len(choices))]

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)
