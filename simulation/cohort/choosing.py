"""Who takes part in a round: by the rules of `aggregator.cohort`, without an object a client where none is needed.

Nobody is over-selected: who is invited here answers, unless a world says otherwise.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from aggregator.cohort import choose, share_of
from aggregator.cohorts.memory import Memory
from aggregator.records import Standing
from aggregator.round import fewest_updates
from fedloom.job import Job
from fedloom.wire.messages import Phase
from simulation.cohort.sending import device_id
from simulation.cohort.task import Mask
from simulation.population.base import Ids

PHASE_NUMBERS = {Phase.TRAIN: 1, Phase.EVALUATE: 2}
_SHUFFLED = 1 << 20
"""Clients up to which the draw is the aggregator's to the number; of more, it takes a time that does not grow."""


class Drawn(NamedTuple):
    """The clients of a round."""

    ids: Ids
    """(n,) rising."""
    evaluates: Mask
    """(n,)"""
    target: int
    """Updates that are aimed at."""


class Chooser:
    """Draws as the aggregator of a fleet with as many devices, all of them ready."""

    def __init__(self, job: Job, clients: int, memory: Memory) -> None:
        self._rounds = msgspec.structs.replace(job.rounds, over_selection=1.0)
        self._seed, self._clients, self._memory = job.seed, clients, memory

    def draw(self, phase: Phase, round_number: int, attempt: int) -> Drawn:
        """Of a round."""
        seed = (self._seed, round_number, attempt, PHASE_NUMBERS[phase])
        if self._memory.rule.remembers and phase is Phase.TRAIN:
            return self._by_rule(phase, round_number, seed)
        rounds, clients = self._rounds, self._clients
        if phase is Phase.EVALUATE:
            count = evaluating = share_of(clients, rounds.evaluate)
        else:
            count = min(clients, max(share_of(clients, rounds.cohort), fewest_updates(phase, rounds)))
            evaluating = share_of(count, rounds.evaluate) if rounds.evaluate else 0
        drawn = _uniform(clients, count, seed)
        order = np.argsort(drawn)
        return Drawn(drawn[order], order < evaluating, count)

    def heard(self, standings: list[Standing], asked: Ids, round_number: int) -> None:
        """What a round has told, for rules that remember."""
        self._memory.asked([device_id(each) for each in asked.tolist()], round_number)
        for standing in standings:
            self._memory.heard(standing)

    @property
    def remembers(self) -> bool:
        """Whether `heard` makes any difference."""
        return self._memory.rule.remembers

    def _by_rule(self, phase: Phase, round_number: int, seed: tuple[int, ...]) -> Drawn:
        ready = [device_id(client) for client in range(self._clients)]
        cohort = choose(phase, ready, self._rounds, seed, 0, round_number, self._memory)
        ids = np.array([int.from_bytes(each.device, "big") - 1 for each in cohort.invitations], np.intp)
        return Drawn(ids, np.array([each.evaluate for each in cohort.invitations], np.bool_), cohort.target)


def _uniform(clients: int, count: int, seed: tuple[int, ...]) -> Ids:
    """(count,) different ones, in the order drawn."""
    rng = np.random.default_rng(np.random.SeedSequence(list(seed)))
    if clients <= _SHUFFLED:
        return rng.permutation(clients)[:count]
    return rng.choice(clients, count, replace=False)
