"""What every fusion rule is: a plan for the devices, and a pure function from updates to new weights."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedloom.errors import FedloomError
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan

Matrix = NDArray[np.float32]
"""(n, p) float32: a weight difference a row, C-contiguous."""
Direction = NDArray[np.float64]
"""(p,) float64: where the weights shall go, before the server's learning rate."""


class FusionError(FedloomError):
    """The updates cannot be fused by this rule; the model of the round before stays."""


class PlanError(FedloomError):
    """A rule cannot work with what a job's [training] asks for."""

    def __init__(self, key: str, problem: str, remedy: str) -> None:
        """`key` of [training]."""
        super().__init__(f"training.{key}: {problem}; {remedy}")
        self.key, self.problem, self.remedy = f"training.{key}", problem, remedy


class ClientUpdate(NamedTuple):
    """One admitted client update."""

    client: bytes
    """The device's id; updates are fused in its order, so that the order of arrival does not matter."""
    samples: int
    delta: Vector
    """(p,) local weights minus global weights. Valid only until the next update is taken: copy what must last."""
    staleness: int = 0
    """Versions of the model since the one that `delta` was trained from; 0 in a synchronous job."""
    steps: int = 0
    """Gradient steps that the device took (τ in FedNova)."""
    loss: float = float("nan")
    """Mean loss of the round's model on the device's training samples, before it trained; NaN unless the plan asks."""
    control: Vector | None = None
    """(p,) change of the device's control variate (SCAFFOLD); valid as long as `delta`. None unless the plan asks."""


class Block(NamedTuple):
    """Some updates in a row."""

    updates: Sequence[ClientUpdate]
    """Their deltas are the rows of `deltas`. A simulation makes them as they are asked for: do so only for what is in
    them beside the deltas."""
    deltas: Matrix
    """(k, p); valid only until the next block is taken. Read-only where it is the given updates' own memory."""


class Updates(Protocol):
    """The admitted updates of a round: decoded lazily, readable again and again, in canonical order."""

    def __iter__(self) -> Iterator[ClientUpdate]: ...

    def __len__(self) -> int: ...

    @property
    def samples(self) -> Sequence[int]:
        """Of each update, in order; known without decoding one."""
        ...

    @property
    def received(self) -> int:
        """How many the round has: as many as there are here, or more, where a pre-step has put several together."""
        ...

    @property
    def trusted(self) -> Vector | None:
        """(p,) the update that the aggregator has trained itself, on its root data set; None where it has none."""
        ...

    def blocks(self, rows: int) -> Iterator[Block]:
        """All updates, at most so many at a time, decoded into one matrix that is used again."""
        ...

    def columns(self, start: int, out: Matrix) -> None:
        """Fill `out` (n, c) with the weights from `start` on of every update."""
        ...


class State(msgspec.Struct, frozen=True):
    """What a rule remembers from round to round; rules that remember more derive their own."""

    version: int = 1


class Fused(NamedTuple):
    """The outcome of a round."""

    weights: Vector
    state: State


class Strategy(Protocol):
    """A fusion rule. Pure: no clock, no log, no I/O; arguments are never changed."""

    @property
    def is_asynchronous(self) -> bool:
        """Whether it knows what to do with an update that is stale."""
        ...

    def initial_state(self, size: int) -> State:
        """The state before round 1 of a model with `size` weights."""
        ...

    def plan(self, round_number: int, base: TrainPlan, state: State) -> TrainPlan:
        """What the devices shall do in this round, given the job's own plan.

        Raises:
            PlanError: they cannot do both; that does not depend on the round.
        """
        ...

    def broadcast(self, state: State) -> Vector | None:
        """(p,) that the devices need beside the round's weights (SCAFFOLD's c); None in most rules."""
        ...

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """New global weights (p,).

        Raises:
            FusionError: these updates cannot be fused; nothing changes.
        """
        ...


class Combine(Protocol):
    """The first half of a composed rule: the round's updates become one direction. Remembers nothing.

    It may also have `fewest`, the updates that it needs at least (`Composed.fewest`); `needs_root_set`, true where it
    looks at `Updates.trusted`; and `combine_after`, which makes it a `strategies.following.FollowingCombine`.
    """

    is_asynchronous: ClassVar[bool]

    def combine(self, updates: Updates, size: int) -> Direction:
        """A direction (size,) in float64, in the role of the mean of the deltas.

        Raises:
            FusionError: these updates cannot be combined.
        """
        ...


class ServerOptimiser(Protocol):
    """The second half: a step along that direction, with what was remembered of earlier ones.

    Source: Reddi et al. 2021, "Adaptive federated optimization", arXiv:2003.00295, algorithm 1 (SERVEROPT).
    """

    def initial_state(self, size: int) -> State:
        """The state before round 1."""
        ...

    def step(self, weights: Vector, direction: Direction, state: State) -> Fused:
        """New weights (p,) float32; the direction is used up."""
        ...


class LocalPlan(Protocol):
    """What may come before all: another plan for the devices than the job's own."""

    def plan(self, base: TrainPlan) -> TrainPlan:
        """The plan of every round.

        Raises:
            PlanError: it cannot be had beside what the job asks for.
        """
        ...


class PreStep(Protocol):
    """What may come before either: other updates in the place of these, e.g. clipped or mixed with their neighbours."""

    is_asynchronous: ClassVar[bool]

    def prepare(self, updates: Updates, size: int) -> Updates:
        """The updates that the rule sees.

        Raises:
            FusionError: there are too few.
        """
        ...

    def fewest_for(self, handed_on: int) -> int:
        """How many updates it must be given in order to hand so many on."""
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


def check_finite(numbers: Vector | Direction) -> None:
    """What a rule does before it hands something on.

    Raises:
        FusionError: a number is NaN or infinite.
    """
    if not np.isfinite(numbers).all():
        raise FusionError("the fused model is not finite; lower the learning rate or update.max_norm")
