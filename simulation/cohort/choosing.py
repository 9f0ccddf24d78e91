"""Who takes part in a round: by the rules of `aggregator.cohort`, without an object a client where none is needed.

Nobody is over-selected unless the round is on a virtual clock: who is invited answers where there is none. The final
evaluation asks no more clients than `MOST_ASKED`.
"""

import math

import msgspec
import numpy as np

from aggregator.cohort import choose, share_of
from aggregator.cohorts.memory import Memory
from aggregator.records import Standing
from aggregator.round import fewest_updates
from fedloom.job import Job
from fedloom.wire.messages import Phase
from simulation.population.base import MOST_ASKED, Ids, client_of, device_id
from simulation.world.door import Chosen

PHASE_NUMBERS = {Phase.TRAIN: 1, Phase.EVALUATE: 2}
_SHUFFLED = 1 << 16
"""Clients up to which the draw is the aggregator's to the number; of more, it takes a time that does not grow."""


class Chooser:
    """Draws as the aggregator of a fleet with as many devices."""

    def __init__(self, job: Job, clients: int, memory: Memory) -> None:
        self._rounds = job.rounds
        self._everybody = msgspec.structs.replace(job.rounds, over_selection=1.0)
        self._buffer = job.asynchronous.buffer if job.asynchronous else 0
        self._seed, self._clients, self._memory = job.seed, clients, memory

    def draw(self, phase: Phase, round_number: int, attempt: int, ready: Ids | None = None) -> Chosen:
        """Of a round; `ready`, rising, are the clients that are there: None is all of them, who answer, too."""
        seed = (self._seed, round_number, attempt, PHASE_NUMBERS[phase])
        if self._memory.rule.remembers and phase is Phase.TRAIN:
            return self._by_rule(phase, round_number, seed, ready)
        rounds = self._everybody if ready is None else self._rounds
        clients = self._clients if ready is None else len(ready)
        if phase is Phase.EVALUATE:
            target = count = evaluating = min(share_of(clients, rounds.evaluate), MOST_ASKED)
        else:
            fewest = max(fewest_updates(phase, rounds), self._buffer)
            target = min(clients, max(share_of(clients, rounds.cohort), fewest))
            count = min(clients, math.ceil(target * rounds.over_selection))
            target = min(target, self._buffer) if self._buffer else target
            evaluating = share_of(count, rounds.evaluate) if rounds.evaluate else 0
        if count == clients and evaluating in (0, count):  # the draw would change nothing
            everybody = np.arange(clients) if ready is None else ready
            return Chosen(everybody, np.full(clients, evaluating > 0), target)
        drawn = _uniform(clients, count, seed)
        order = np.argsort(drawn)
        ids = drawn[order] if ready is None else ready[drawn[order]]
        return Chosen(ids, order < evaluating, target)

    def heard(self, standings: list[Standing], asked: Ids, round_number: int) -> None:
        """What a round has told, for rules that remember."""
        self._memory.asked([device_id(each) for each in asked.tolist()], round_number)
        for standing in standings:
            self._memory.heard(standing)

    @property
    def remembers(self) -> bool:
        """Whether `heard` makes any difference."""
        return self._memory.rule.remembers

    def _by_rule(self, phase: Phase, round_number: int, seed: tuple[int, ...], ready: Ids | None) -> Chosen:
        rounds = self._everybody if ready is None else self._rounds
        there = [device_id(client) for client in (range(self._clients) if ready is None else ready.tolist())]
        cohort = choose(phase, there, rounds, seed, self._buffer, round_number, self._memory)
        ids = np.array([client_of(each.device) for each in cohort.invitations], np.intp)
        return Chosen(ids, np.array([each.evaluate for each in cohort.invitations], np.bool_), cohort.target)


def _uniform(clients: int, count: int, seed: tuple[int, ...]) -> Ids:
    """(count,) different ones, in the order drawn."""
    rng = np.random.default_rng(np.random.SeedSequence(list(seed)))
    if clients <= _SHUFFLED:
        return rng.permutation(clients)[:count]
    return rng.choice(clients, count, replace=False)
