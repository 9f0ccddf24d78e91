"""Gamma variates that are a function of a client's key, in logarithms, so that tiny shapes do not underflow.

Marsaglia and Tsang 2000 (doi:10.1145/358407.358414) for shape + 1, times u^(1/shape). About 1 of 30 tries is rejected,
and drawn again from the next place of its stream.
"""

import numpy as np
from numpy.typing import NDArray

from simulation.population.hashing import Bits, at, uniform

_MAX_TRIES = 64
"""The chance that one more is needed is below 10⁻⁸⁰."""


def log_gamma(shapes: NDArray[np.float64], key: Bits) -> NDArray[np.float64]:
    """(c, k): the logarithm of Gamma(shapes[j], 1) for each of (c,) keys and (k,) shapes > 0."""
    count = len(shapes)
    places = np.arange(count) * (2 * _MAX_TRIES)
    d = np.broadcast_to(shapes + 2.0 / 3.0, (len(key), count)).ravel()
    streams = (key[:, None] + np.zeros(count, np.uint64)).ravel()
    first = np.broadcast_to(places, (len(key), count)).ravel()
    logs, boosts, is_accepted = _attempt(d, streams, first)
    again = np.flatnonzero(~is_accepted)
    for number in range(1, _MAX_TRIES):
        if not again.size:
            break
        logs[again], boosts[again], is_accepted = _attempt(d[again], streams[again], first[again] + 2 * number)
        again = again[~is_accepted]
    return (logs + boosts / np.broadcast_to(shapes, (len(key), count)).ravel()).reshape(len(key), count)


def _attempt(
    d: NDArray[np.float64], streams: Bits, place: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """log d·v, the logarithm of a uniform number for the boost, and whether d·v is accepted."""
    radius, angle = uniform(at(streams, place))
    trial, boost = uniform(at(streams, place + 1))
    normal = np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle)
    root = 1.0 + normal / np.sqrt(9.0 * d)
    v = np.where(root > 0.0, root, 1.0) ** 3
    log_v = np.log(v)
    is_accepted = (root > 0.0) & (np.log(trial) < 0.5 * normal * normal + d * (1.0 - v + log_v))
    return np.log(d) + log_v, np.log(boost), is_accepted
