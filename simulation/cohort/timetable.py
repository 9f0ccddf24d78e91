"""Whose updates a round is made of, and from which models they were trained: everybody's, or as a world has it."""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from aggregator.phases import Step
from fedloom.job import Job
from fedloom.learning.plan import TrainPlan
from fedloom.simulated_world import Devices
from fedloom.wire.encoding import encoded_bytes
from fedloom.wire.messages import Phase
from simulation.cohort.choosing import Chooser
from simulation.cohort.task import Mask
from simulation.population.base import Ids, Population
from simulation.world.asynchronous import Buffers
from simulation.world.door import Chosen, Refuse
from simulation.world.draws import Numbers
from simulation.world.summary import Attempt
from simulation.world.synchronous import Synchronous
from simulation.world.work import Load, Used, samples_trained
from simulation.world.world import World


class Entrants(NamedTuple):
    """Who is in a round."""

    ids: Ids
    """(n,) rising; in an asynchronous job a client may be there twice, with different bases."""
    evaluates: Mask
    """(n,)"""
    bases: Ids
    """(n,) the round whose model each has trained from."""
    chosen: Chosen
    """Whom the round has invited."""
    seconds: Numbers | None = None
    """(n,) from the opening of that round to the answer, on the virtual clock."""
    attempts: tuple[Attempt, ...] = ()
    """What it took on the virtual clock; empty where there is none."""
    used: Used | None = None
    """(n,) what each has spent."""


class Timetable(Protocol):
    """Of one job; asked for a round after the other."""

    def round(self, step: Step) -> Entrants:
        """Who is in a training round, or in the final evaluation.

        Raises:
            FedloomError: there will never be enough.
        """
        ...


class Everybody:
    """Who is asked answers, at once."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser

    def round(self, step: Step) -> Entrants:
        """All that are drawn."""
        chosen = self._chooser.draw(*step)
        return Entrants(chosen.ids, chosen.evaluates, np.full(len(chosen.ids), step.round), chosen)


class OnTheClock:
    """Who answers in time. The final evaluation is on no clock."""

    def __init__(self, chooser: Chooser, rounds: Synchronous, world: World) -> None:
        self._chooser, self._rounds, self._world = chooser, rounds, world

    def round(self, step: Step) -> Entrants:
        """As the world has it."""
        if step.phase is not Phase.TRAIN:
            return Everybody(self._chooser).round(step)
        happened = self._rounds.round(step.round)
        ids, bases, used = happened.ids, np.full(len(happened.ids), step.round), self._world.full(happened.ids)
        return Entrants(ids, happened.evaluates, bases, happened.chosen, happened.seconds, happened.attempts, used)


class InBuffers:
    """Whose updates have filled a buffer. The final evaluation is on no clock."""

    def __init__(self, chooser: Chooser, buffers: Buffers, world: World) -> None:
        self._chooser, self._buffers, self._world = chooser, buffers, world

    def round(self, step: Step) -> Entrants:
        """As the world has it; who has trained from an older model evaluates nothing that counts."""
        if step.phase is not Phase.TRAIN:
            return Everybody(self._chooser).round(step)
        ids, bases, seconds, chosen, attempts = self._buffers.round(step.round)
        evaluating = chosen.ids[chosen.evaluates]
        evaluates = np.isin(ids, evaluating) & (bases == step.round)
        return Entrants(ids, evaluates, bases, chosen, seconds, attempts, self._world.full(ids))


def make_timetable(
    job: Job, where: Path, population: Population, chooser: Chooser, refuse: Refuse, plan: TrainPlan
) -> Timetable:
    """What the job asks for: a clock where it is asynchronous, or says what its devices are like.

    `where` is the job's file, `plan` that of the first round.

    Raises:
        InputError: a trace of the devices cannot be read.
    """
    devices = job.simulation.devices if job.simulation else None
    if devices is None and job.asynchronous is None:
        return Everybody(chooser)
    load = _load(job, population, plan)
    world = World(devices or Devices(), load, population.clients, job.seed, where.parent)

    def choose(ready: Ids, number: int, attempt: int) -> Chosen:
        return chooser.draw(Phase.TRAIN, number, attempt, ready)

    if job.asynchronous:
        return InBuffers(chooser, Buffers(job.rounds, job.asynchronous, world, choose, refuse), world)
    return OnTheClock(chooser, Synchronous(job.rounds, world, choose, refuse), world)


def _load(job: Job, population: Population, plan: TrainPlan) -> Load:
    vectors, weights = 2 if plan.correction == "scaffold" else 1, job.model.layout().size
    update_bytes = encoded_bytes(job.update.encoding, job.shared_layout.size, job.update.options)
    return Load(
        weights=weights,
        down_bytes=4 * vectors * weights,
        up_bytes=vectors * update_bytes,
        samples=lambda ids: samples_trained(plan, population.sizes(ids)),
    )
