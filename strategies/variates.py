"""What a server remembers of vectors that stay on the devices (SCAFFOLD, FedDyn): their sum, and whose they are.

A vector starts at zero, and only what the server has counted changes it. So the sum is that of all devices, those that
have never taken part included, and is a mean when it is divided by how many devices there are.
"""

from collections.abc import Iterable

import msgspec
import numpy as np

from fedloom.learning.layout import Vector
from fedloom.learning.plan import Count
from strategies.base import Direction, State

_ID_BYTES = 16


class Variates(State, frozen=True):
    """The sum of all devices' vectors."""

    total: bytes = b""
    """(p,) float32, little-endian."""
    clients: bytes = b""
    """Ids of the devices that have taken part so far, 16 bytes each, in order."""


class WithVariates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What such rules have in common. They are not composed, because they touch what the devices do and keep."""

    devices: Count = 0
    """N, all that may ever take part; 0, or too few: as many as have so far."""

    @property
    def is_asynchronous(self) -> bool:
        """No: how a vector changes is measured from what the round has broadcast, which is then no more."""
        return False

    def initial_state(self, size: int) -> State:
        """All vectors are zero."""
        return Variates(total=bytes(4 * size))

    def population(self, state: State) -> int:
        """N: as many as have taken part, and `devices` at least."""
        assert isinstance(state, Variates)  # noqa: S101 - for the type checker: a rule gets its own state back
        return max(self.devices, len(state.clients) // _ID_BYTES, 1)


def sum_of(state: State) -> Vector:
    """(p,), not to be written to."""
    assert isinstance(state, Variates)  # noqa: S101 - see above
    return np.frombuffer(state.total, "<f4")


def advanced(state: State, change: Direction, clients: Iterable[bytes]) -> Variates:
    """The state after these devices' vectors have changed, by `change` in all."""
    assert isinstance(state, Variates)  # noqa: S101 - see above
    total = (sum_of(state) + change).astype("<f4")
    known = {state.clients[at : at + _ID_BYTES] for at in range(0, len(state.clients), _ID_BYTES)}
    return Variates(total=total.tobytes(), clients=b"".join(sorted(known.union(clients))))
