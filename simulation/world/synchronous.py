"""Synchronous rounds on the virtual clock: who is invited, who is in time, and what the others did for nothing."""

from typing import NamedTuple

from fedloom.job.rounds import Rounds
from simulation.world.closing import Closing, close
from simulation.world.door import Choose, Chosen, Door, Refuse
from simulation.world.draws import Ids, Mask, Numbers
from simulation.world.summary import Attempt, Cost, cost_of
from simulation.world.work import Work
from simulation.world.world import World


class Round(NamedTuple):
    """A round that is done."""

    chosen: Chosen
    """Whom it has invited."""
    counted: Mask
    """(c,) whose updates are in it."""
    answers_s: Numbers
    """(c,) when each has answered, from the round's opening; ∞ for never."""
    attempts: tuple[Attempt, ...]
    """All that it took; the last one is done, the others came to nothing."""

    @property
    def ids(self) -> Ids:
        """(k,) whose updates are in it, in order."""
        return self.chosen.ids[self.counted]

    @property
    def evaluates(self) -> Mask:
        """(k,) who of them evaluates."""
        return self.chosen.evaluates[self.counted]

    @property
    def seconds(self) -> Numbers:
        """(k,) from the round's opening to their answers."""
        return self.answers_s[self.counted]


class Synchronous:
    """The rounds of a job, one after the other."""

    def __init__(self, rounds: Rounds, world: World, choose: Choose, refuse: Refuse) -> None:
        self._rounds = rounds
        self._world = world
        self._choose = choose
        self._refuse = refuse
        self._door = Door(rounds, world)
        self._moment = 0
        """Attempts of all rounds."""

    def round(self, number: int) -> Round:
        """Try it until enough updates are in it.

        Raises:
            StandstillError: too few devices are ever there.
            FruitlessError: it was tried too often.
        """
        attempts: list[Attempt] = []
        while True:
            ready, attempt = self._door.open(number)
            chosen = self._choose(ready, number, attempt)
            closing, answers_s = self._attempt(chosen, number, attempts)
            spoke, silent = chosen.ids[closing.spoke], chosen.ids[~closing.spoke]
            is_done = closing.outcome == "done"
            self._door.close(attempts[-1].closed_s, spoke, silent, is_done=is_done)
            if is_done:
                return Round(chosen, closing.counted, answers_s, tuple(attempts))

    def _attempt(self, chosen: Chosen, number: int, attempts: list[Attempt]) -> tuple[Closing, Numbers]:
        """Who has not answered when it closes stops: the next manifest ends what a device does for the last."""
        self._moment += 1
        opened_s = self._door.time_s
        work = self._world.work(chosen.ids, opened_s, self._moment)
        refused = self._refuse(chosen.ids, number) | (work.samples == 0)
        closing = close(work.answers_s, work.ties, refused, chosen.target, self._rounds)
        used = work.used(closing.seconds)
        self._world.spend(chosen.ids, used.joules, opened_s + closing.seconds)
        cost = cost_of(used, closing.counted & (closing.outcome == "done"))
        attempts.append(_summary(work, closing, opened_s + closing.seconds, cost))
        return closing, work.answers_s


def _summary(work: Work, closing: Closing, closed_s: float, cost: Cost) -> Attempt:
    invited, spoke, counted = len(closing.spoke), int(closing.spoke.sum()), int(closing.counted.sum())
    lost = int((~closing.spoke & work.is_lost & (work.gone_s <= closing.seconds)).sum())
    refused, late = spoke - counted, invited - spoke - lost
    return Attempt(closed_s, closing.seconds, invited, counted, refused, lost, late, cost)
