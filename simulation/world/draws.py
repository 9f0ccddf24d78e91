"""Random numbers that belong to a client: functions of (seed, stream, counters, id), so that none has to be stored.

    h ← mix(h ⊕ v · γ) for v = seed, stream, each counter and the ids, with SplitMix64's mix and γ = 2⁶⁴ / φ

The same arguments give the same number, whoever else is asked for and whatever was drawn before.

Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", doi:10.1145/2660193.2660195.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.intp]
"""(c,) client numbers from 0."""
Numbers = NDArray[np.float64]
"""(c,)"""
Mask = NDArray[np.bool_]
"""(c,)"""
_Words = NDArray[np.uint64]

_GAMMA = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_WORD = 2**64
_ROUNDS = 6
"""Of the Feistel network; four already look random (Luby, Rackoff 1988)."""


class Stream(IntEnum):
    """What a number is for; no two share one."""

    SPEED = 1
    SPEED_OF_ROUND = 2
    NETWORK = 3
    NETWORK_OF_ROUND = 4
    DAY_START = 5
    DAY_JITTER = 6
    JOIN = 7
    STAY = 8
    CAPACITY = 9
    CHARGE_START = 10
    IGNORES = 11
    DROPS = 12
    DROPS_AT = 13
    ATTACKERS = 14
    TIES = 15


class Draws(NamedTuple):
    """A seed's numbers."""

    seed: int

    def uniform(self, stream: Stream, ids: Ids, *counters: int | Ids) -> Numbers:
        """(c,) from Uniform(0, 1), neither end; a counter is one number, or one for each client."""
        words = self._words(stream, ids, counters) >> np.uint64(11)
        result: Numbers = (words.astype(np.float64) + 0.5) * 2.0**-53
        return result

    def normal(self, stream: Stream, ids: Ids, *counters: int | Ids) -> Numbers:
        """(c,) from Normal(0, 1).

        Source: Box, Muller 1958, "A note on the generation of random normal deviates", doi:10.1214/aoms/1177706645.
        """
        first = self.uniform(stream, ids, *counters, 0)
        second = self.uniform(stream, ids, *counters, 1)
        result: Numbers = np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second)
        return result

    def log_normal(self, sigma: float, stream: Stream, ids: Ids, *counters: int | Ids) -> Numbers:
        """(c,) with median 1; `sigma` is the deviation of the logarithm."""
        return np.exp(sigma * self.normal(stream, ids, *counters)) if sigma else np.ones(len(ids))

    def place(self, stream: Stream, ids: Ids, count: int) -> Ids:
        """(c,) where each of `count` clients stands in an order drawn for them: no two in one place.

        A Feistel network on the next larger power of four, walked until it is below `count`: no list is made.

        Source: Black, Rogaway 2002, "Ciphers with arbitrary finite domains", doi:10.1007/3-540-45760-7_9.
        """
        half = max(1, ((count - 1).bit_length() + 1) // 2)
        places = self._encipher(stream, ids.astype(np.uint64), half)
        while (beyond := places >= count).any():
            places[beyond] = self._encipher(stream, places[beyond], half)
        return places.astype(np.intp)

    def _encipher(self, stream: Stream, words: _Words, half: int) -> _Words:
        low_bits = np.uint64((1 << half) - 1)
        left, right = words >> np.uint64(half), words & low_bits
        for number in range(_ROUNDS):
            left, right = right, left ^ (self._words(stream, right, (number,)) & low_bits)
        return (left << np.uint64(half)) | right

    def _words(self, stream: Stream, ids: Ids | _Words, counters: tuple[int | Ids, ...]) -> _Words:
        state = np.array([self.seed % _WORD], np.uint64)
        for value in (int(stream), *counters, ids):
            state = _mix(state ^ _spread(value))
        return state


def _spread(value: int | Ids | _Words) -> np.uint64 | _Words:
    """(value + 1) · γ modulo 2⁶⁴."""
    if isinstance(value, int):
        return np.uint64((value + 1) * _GAMMA % _WORD)
    words: _Words = (value.astype(np.uint64) + np.uint64(1)) * np.uint64(_GAMMA)
    return words


def _mix(words: _Words) -> _Words:
    words = (words ^ (words >> np.uint64(30))) * _MIX_1
    words = (words ^ (words >> np.uint64(27))) * _MIX_2
    result: _Words = words ^ (words >> np.uint64(31))
    return result
