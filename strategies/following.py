"""A composed rule whose combination starts from the direction of the round before: the one kind that remembers itself.

What it remembers is a vector, the direction, beside whatever the server optimiser remembers.
"""

from typing import Protocol, cast

import numpy as np

from fedloom import msgpack
from fedloom.learning.layout import Vector
from strategies.base import Combine, Direction, Fused, State, Updates, check_finite
from strategies.composed import Composed, prepared


class FollowingCombine(Combine, Protocol):
    """A `Combine` that is told where the round before went."""

    def combine_after(self, last: Direction, updates: Updates, size: int) -> Direction:
        """A direction (size,) in float64; `last` is that of the round before, zeros in the first.

        Raises:
            FusionError: these updates cannot be combined.
        """
        ...


class FollowingState(State, frozen=True):
    """What is remembered."""

    direction: bytes = b""
    """(p,) float32, little-endian; empty before round 1."""
    server: bytes = b""
    """The server optimiser's state in msgpack."""


class Following(Composed):
    """`combine` is a `FollowingCombine`: the registry sees to that."""

    def initial_state(self, size: int) -> FollowingState:
        """No direction yet."""
        return FollowingState(server=msgpack.encode(self.server.initial_state(size)))

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """Prepare, combine, step, remember."""
        combine, own = cast("FollowingCombine", self.combine), cast("FollowingState", state)
        updates = prepared(updates, self.before, weights.size)
        last = np.frombuffer(own.direction or bytes(4 * weights.size), "<f4").astype(np.float64)
        direction = combine.combine_after(last, updates, weights.size)
        kept = direction.astype("<f4")
        check_finite(kept)
        before = msgpack.decode(own.server, type(self.server.initial_state(weights.size)))
        fused = self.server.step(weights, direction, before)
        check_finite(fused.weights)
        return Fused(fused.weights, FollowingState(direction=kept.tobytes(), server=msgpack.encode(fused.state)))
