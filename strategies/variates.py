"""What a server remembers of vectors that stay on the devices (SCAFFOLD, FedDyn): their sum, and whose they are.

A vector starts at zero, and only what the server has counted changes it. So the sum is that of all devices, those that
have never taken part included, and is a mean when it is divided by how many devices there are.
"""

from collections.abc import Iterable

import numpy as np

from fedloom.learning.layout import Vector
from strategies.base import Direction, State

_ID_BYTES = 16


class Variates(State, frozen=True):
    """The sum of all devices' vectors."""

    total: bytes = b""
    """(p,) float32, little-endian."""
    clients: bytes = b""
    """Ids of the devices that have taken part so far, 16 bytes each, in order."""


def none_yet(size: int) -> Variates:
    """Before round 1."""
    return Variates(total=bytes(4 * size))


def sum_of(state: State) -> Vector:
    """(p,), not to be written to."""
    assert isinstance(state, Variates)  # noqa: S101 - for the type checker: a rule gets its own state back
    return np.frombuffer(state.total, "<f4")


def advanced(state: State, change: Direction, clients: Iterable[bytes]) -> Variates:
    """The state after these devices' vectors have changed, by `change` in all."""
    assert isinstance(state, Variates)  # noqa: S101 - see above
    total = (sum_of(state) + change).astype("<f4")
    known = {state.clients[at : at + _ID_BYTES] for at in range(0, len(state.clients), _ID_BYTES)}
    return Variates(total=total.tobytes(), clients=b"".join(sorted(known.union(clients))))


def population(state: State, devices: int) -> int:
    """N: as many as have taken part, and `devices` at least."""
    assert isinstance(state, Variates)  # noqa: S101 - see above
    return max(devices, len(state.clients) // _ID_BYTES, 1)
