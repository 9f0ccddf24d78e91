"""What a simulated round took: time on the virtual clock, bytes, joules, and what of them was for nothing."""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from simulation.world.draws import Ids, Mask
from simulation.world.work import Used


class Cost(msgspec.Struct, frozen=True):
    """What devices have used; bytes are those of models and updates."""

    down_bytes: float = 0.0
    up_bytes: float = 0.0
    joules: float = 0.0
    wasted_bytes: float = 0.0
    """Of the bytes, up and down: those of devices whose update is not counted."""
    wasted_joules: float = 0.0
    """Of the joules, likewise."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            *(a + b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True))
        )


class Attempt(msgspec.Struct, frozen=True):
    """One attempt of a synchronous round, or one buffer of an asynchronous job."""

    closed_s: float
    """When it closed, from the job's start."""
    seconds: float
    """How long it was open."""
    invited: int
    counted: int
    """Updates that are in it."""
    refused: int
    """Answers that were no update, or none that is admitted."""
    lost: int
    """Devices that ignored it, or were gone before they had answered."""
    late: int
    """Devices that were still at it when it closed; in an asynchronous job, whose work has become too old."""
    cost: Cost
    staleness: tuple[int, ...] = ()
    """Counted updates by how many models they are behind: 0, 1, 2 …; empty for a synchronous round."""


def cost_of(used: Used, is_counted: Mask) -> Cost:
    """The sums of what devices have used, (c,); those that are not counted have worked for nothing."""
    sent, wasted = used.down_bytes + used.up_bytes, ~is_counted
    return Cost(
        down_bytes=float(used.down_bytes.sum()),
        up_bytes=float(used.up_bytes.sum()),
        joules=float(used.joules.sum()),
        wasted_bytes=float(sent[wasted].sum()),
        wasted_joules=float(used.joules[wasted].sum()),
    )


def without(attempts: Sequence[Attempt], is_in: Mask, used: Used, staleness: Ids | None) -> tuple[Attempt, ...]:
    """What it took of a round when the updates in it (n,) have been looked at, of which not all may be admitted.

    `used` (n,) is what each has cost, `staleness` (n,) by how many models it is behind.
    """
    *before, last = attempts
    cost, refused = cost_of(used, is_in), int((~is_in).sum())
    wasted = msgspec.structs.replace(
        last.cost,
        wasted_bytes=last.cost.wasted_bytes + cost.wasted_bytes,
        wasted_joules=last.cost.wasted_joules + cost.wasted_joules,
    )
    return *before, msgspec.structs.replace(
        last,
        counted=last.counted - refused,
        refused=last.refused + refused,
        cost=wasted,
        staleness=() if staleness is None else histogram(staleness[is_in]),
    )


def in_vain(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """What it took of a round that makes no model after all: what the last attempt has used is wasted, too."""
    *before, last = attempts
    cost = msgspec.structs.replace(
        last.cost, wasted_bytes=last.cost.down_bytes + last.cost.up_bytes, wasted_joules=last.cost.joules
    )
    return *before, msgspec.structs.replace(last, cost=cost)


def histogram(staleness: Ids) -> tuple[int, ...]:
    """How often each of 0, 1, 2 … occurs.

    >>> histogram(np.array([0, 2, 0]))
    (2, 0, 1)
    """
    return tuple(np.bincount(staleness).tolist())


def in_words(attempts: Sequence[Attempt]) -> Iterator[str]:
    """What all attempts of a run have come to, in lines; there is at least one."""
    cost = sum((each.cost for each in attempts), Cost())
    invited, counted, late, lost = (
        sum(getattr(each, name) for each in attempts) for name in ("invited", "counted", "late", "lost")
    )
    sent = cost.down_bytes + cost.up_bytes
    clock = f"on the virtual clock: {attempts[-1].closed_s:,.1f} s in {len(attempts):,} attempts"
    yield f"{clock}; {invited:,} invitations, {counted:,} updates in time, {late:,} late, {lost:,} lost"
    wasted = f"{cost.wasted_bytes / max(sent, 1.0):.0%} of them for nothing"
    yield f"{cost.down_bytes / 1e6:,.1f} MB to devices and {cost.up_bytes / 1e6:,.1f} MB back, {wasted}"
    if cost.joules:
        yield f"{cost.joules:,.1f} J on the devices, {cost.wasted_joules / cost.joules:.0%} of them for nothing"
