"""Random numbers that are a function of what they are for, so that any client's can be had without any other's.

SplitMix64: the j-th number of a stream is mix(key + j·γ). Source: Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195.
"""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def keys(seed: int, purpose: str, ids: NDArray[np.intp]) -> Bits:
    """(c,) the key of each client's stream for a purpose.

    >>> bool((keys(1, "size", np.array([7])) == keys(1, "size", np.array([3, 7]))[1]).all())
    True
    """
    stream = mixed(np.array([seed << 32 | crc32(purpose.encode())], np.uint64))
    return mixed(stream + mixed(ids.astype(np.uint64) + np.uint64(1)))


def at(key: Bits, place: NDArray[np.intp] | int) -> Bits:
    """The numbers at places 0, 1, … of streams; the shapes are broadcast."""
    return mixed(key + (np.asarray(place).astype(np.uint64) + np.uint64(1)) * _GAMMA)


def mixed(bits: Bits) -> Bits:
    """SplitMix64's finaliser, a bijection whose every output bit depends on every input bit."""
    out = bits ^ (bits >> np.uint64(30))
    out *= _FIRST
    out ^= out >> np.uint64(27)
    out *= _SECOND
    out ^= out >> np.uint64(31)
    return out


def below(bits: Bits, count: int | NDArray[np.intp]) -> NDArray[np.intp]:
    """Whole numbers from 0 up to `count` < 2³², of the upper 32 bits; no number is likelier than another by more than
    count / 2³².
    """
    return (((bits >> _HALF) * np.asarray(count).astype(np.uint64)) >> _HALF).astype(np.intp)


def uniform(bits: Bits) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two independent numbers in (0, 1), of the upper and the lower 32 bits."""
    scale = 2.0**-32
    return ((bits >> _HALF).astype(np.float64) + 0.5) * scale, ((bits & _LOW).astype(np.float64) + 0.5) * scale
