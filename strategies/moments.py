"""What server optimisers remember: a number or two for each weight, from round to round.

Computed in float64 and kept as little-endian float32: half the bytes, which are written with an fsync each round. What
that loses could only matter after 10⁷ rounds: a share below 2⁻²⁴ of a moment that changes by a hundredth of the rest.
"""

import numpy as np

from strategies.base import Direction, FusionError, State


class Moments(State, frozen=True):
    """(p,) float32 each; empty where the optimiser has no such moment."""

    first: bytes = b""
    second: bytes = b""


def moments(state: State) -> Moments:
    """`state`, which an optimiser's own `initial_state` has begun.

    Raises:
        TypeError: it is another rule's.
    """
    if not isinstance(state, Moments):
        raise TypeError(f"the state is a {type(state).__name__}, not Moments")
    return state


def read(moment: bytes) -> Direction:
    """In float64."""
    return np.frombuffer(moment, "<f4").astype(np.float64)


def write(moment: Direction) -> bytes:
    """As it is kept.

    Raises:
        FusionError: it does not fit float32.
    """
    kept = moment.astype("<f4")
    if not np.isfinite(kept).all():
        raise FusionError("what the server optimiser remembers is not finite; lower update.max_norm")
    return kept.tobytes()
