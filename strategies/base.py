"""What every fusion rule is: a plan for the devices, and a pure function from updates to new weights."""

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, NamedTuple, Protocol

import msgspec

from fedloom.errors import FedloomError
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan


class FusionError(FedloomError):
    """The updates cannot be fused by this rule; the model of the round before stays."""


class ClientUpdate(NamedTuple):
    """One admitted client update."""

    client: bytes
    """The device's id; updates are fused in its order, so that the order of arrival does not matter."""
    samples: int
    delta: Vector
    """(p,) local weights minus global weights. Valid only until the next update is taken: copy what must last."""
    staleness: int = 0
    """Versions of the model since the one that `delta` was trained from; 0 in a synchronous job."""


class Updates(Protocol):
    """The admitted updates of a round: decoded lazily, iterable again and again, in canonical order."""

    def __iter__(self) -> Iterator[ClientUpdate]: ...

    def __len__(self) -> int: ...

    @property
    def samples(self) -> Sequence[int]:
        """Of each update, in order; known without decoding one."""
        ...


class UpdatesInMemory:
    """`Updates` of a simulation or a test; sorted here, so that their order does not matter."""

    def __init__(self, updates: Iterable[ClientUpdate]) -> None:
        self._updates = sorted(updates, key=lambda update: (update.client, -update.staleness))

    def __iter__(self) -> Iterator[ClientUpdate]:
        return iter(self._updates)

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def samples(self) -> Sequence[int]:
        return [update.samples for update in self._updates]


class State(msgspec.Struct, frozen=True):
    """What a rule remembers from round to round; rules that remember more derive their own."""

    version: int = 1


class Fused(NamedTuple):
    """The outcome of a round."""

    weights: Vector
    state: State


class Strategy(Protocol):
    """A fusion rule. Pure: no clock, no log, no I/O; arguments are never changed."""

    is_asynchronous: ClassVar[bool]
    """Whether it knows what to do with an update that is stale."""

    def initial_state(self, size: int) -> State:
        """The state before round 1 of a model with `size` weights."""
        ...

    def plan(self, round_number: int, base: TrainPlan, state: State) -> TrainPlan:
        """What the devices shall do in this round, given the job's own plan."""
        ...

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """New global weights (p,).

        Raises:
            FusionError: these updates cannot be fused; nothing changes.
        """
        ...


def total_samples(updates: Updates) -> int:
    """Σ samples.

    Raises:
        FusionError: it is zero.
    """
    total = sum(updates.samples)
    if total == 0:
        raise FusionError("no update carries a sample")
    return total
