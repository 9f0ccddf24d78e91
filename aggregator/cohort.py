"""Who takes part in a round: a seeded draw, so that a run can be repeated. The rules are in `aggregator.cohorts`."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from aggregator.cohorts.memory import Memory
from aggregator.cohorts.uniform import Uniform
from aggregator.records import Invitation
from aggregator.round import fewest_updates
from fedloom.job.rounds import Rounds
from fedloom.wire.messages import Phase

ANYBODY = Memory(Uniform())


class Cohort(NamedTuple):
    """The devices of a round, and how many of their updates are aimed at."""

    invitations: tuple[Invitation, ...]
    target: int


def choose(
    phase: Phase,
    ready: Collection[bytes],
    rounds: Rounds,
    seed: Sequence[int],
    buffer: int = 0,
    round_number: int = 1,
    memory: Memory = ANYBODY,
) -> Cohort:
    """Draw a cohort from the devices that are ready (at least one), whatever their order.

    Statistics need every device, and every evaluating device takes part in the final evaluation. Whom the rule of
    `memory` prefers to train evaluates no more often than the others of its cohort.
    `seed` names the job, round and attempt; `buffer` is the number of updates that an asynchronous job aims at.
    """
    rng = np.random.default_rng(np.random.SeedSequence(list(seed)))
    devices = sorted(ready)
    order = [devices[index] for index in rng.permutation(len(devices))]
    if phase is Phase.STATISTICS:
        return Cohort(tuple(Invitation(each, train=False, evaluate=False) for each in devices), len(devices))
    if phase is Phase.EVALUATE:
        chosen = sorted(order[: share_of(len(order), rounds.evaluate)])
        return Cohort(tuple(Invitation(each, train=False, evaluate=True) for each in chosen), len(chosen))
    target = min(len(order), max(share_of(len(order), rounds.cohort), fewest_updates(phase, rounds), buffer))
    count = min(len(order), math.ceil(target * rounds.over_selection))
    picked = memory.rule.pick([memory.of(each) for each in order], count, round_number, rng)
    invited = [order[position] for position in sorted(picked)]
    evaluating = set(invited[: share_of(len(invited), rounds.evaluate)] if rounds.evaluate else ())
    invitations = tuple(Invitation(each, train=True, evaluate=each in evaluating) for each in sorted(invited))
    return Cohort(invitations, min(target, buffer) if buffer else target)


def share_of(count: int, share: float) -> int:
    """⌈share · count⌉, at least 1; 1e-9 forgives shares such as 0.1 that binary cannot hold."""
    return max(1, math.ceil(share * count - 1e-9))
