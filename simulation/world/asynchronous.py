"""Buffers of an asynchronous job on the virtual clock: an event after the other, as devices answer.

A device finishes what it trains when a newer model comes, and takes that one next; it ends what would not count any
more, which is what was begun more than `max_staleness` attempts ago. When a buffer closes, and whether it is fused, the
aggregator's own `RoundState` says. Devices are invited only when a buffer is opened, so nobody answers one twice.
"""

from typing import NamedTuple

import numpy as np

from aggregator.records import Answer
from aggregator.round import RoundState
from fedloom.job.rounds import Asynchronous, Rounds
from fedloom.wire.messages import Phase, Verdict
from simulation.population.base import client_of, device_id
from simulation.world.door import Choose, Chosen, Door, Refuse
from simulation.world.draws import Ids, Numbers
from simulation.world.flights import Flight, Flights, Opening
from simulation.world.summary import Attempt, Cost, cost_of, histogram
from simulation.world.world import World


class Buffer(NamedTuple):
    """A round that is done: (k,) updates, in the order of the devices' numbers, then of the models."""

    ids: Ids
    """Whose update; a device may have two."""
    bases: Ids
    """The number of the round whose model it was trained from."""
    seconds: Numbers
    """From that round's opening to the answer."""
    chosen: Chosen
    """Whom it has invited."""
    attempts: tuple[Attempt, ...]
    """All that it took; the last one is done, the others came to nothing."""


class Buffers:
    """The rounds of a job, one after the other."""

    def __init__(self, rounds: Rounds, buffer: Asynchronous, world: World, choose: Choose, refuse: Refuse) -> None:
        self._rounds = rounds
        self._max_staleness = buffer.max_staleness
        self._world = world
        self._choose = choose
        self._refuse = refuse
        self._door = Door(rounds, world)
        self._flights = Flights()
        self._version = 0

    def round(self, number: int) -> Buffer:
        """Try it until enough updates are in it.

        Raises:
            StandstillError: too few devices are ever there.
            FruitlessError: it was tried too often.
        """
        attempts: list[Attempt] = []
        while True:
            ready, attempt = self._door.open(number)
            chosen = self._choose(ready, number, attempt)
            collecting = self._open(chosen, number)
            collecting.run()
            attempts.append(collecting.summary(self._world))
            self._door.close(collecting.now_s, collecting.spoke, collecting.silent, is_done=collecting.is_done)
            if collecting.is_done:
                return Buffer(*collecting.updates(), chosen, tuple(attempts))

    def _open(self, chosen: Chosen, number: int) -> "_Collecting":
        self._version += 1
        opened_s = self._door.time_s
        work = self._world.work(chosen.ids, opened_s, self._version)
        refused = self._refuse(chosen.ids, number) | (work.samples == 0)
        opening = Opening(self._version, number, opened_s, chosen.ids, work, refused)
        return _Collecting(opening, chosen.target, self._rounds, self._flights, self._max_staleness)


class _Collecting:
    """One buffer while it fills."""

    def __init__(self, opening: Opening, target: int, rounds: Rounds, flights: Flights, max_staleness: int) -> None:
        self.now_s = opening.opened_s
        self._opening = opening
        self._flights = flights
        self._deadline_s = opening.opened_s + rounds.deadline_s
        self._state = RoundState(
            Phase.TRAIN,
            [device_id(client) for client in opening.ids.tolist()],
            target,
            rounds,
            self._deadline_s,
            version=opening.version,
            is_buffer=True,
        )
        self._outcome: str | None = None
        self._landed: list[Flight] = []
        """Work that has ended since the buffer was opened, whatever came of it."""
        self._late = flights.end_older(opening.version - max_staleness)
        self._waiting: dict[int, int] = {}
        """Places of the invited that are busy with an older model."""
        for place, client in enumerate(opening.ids.tolist()):
            if client in flights:
                self._waiting[client] = place
            else:
                flights.begin(opening, place, self.now_s)

    def run(self) -> None:
        """Take answers until it closes."""
        while (outcome := self._state.outcome(self.now_s)) is None:
            if self._flights.next_s > self._deadline_s:
                self.now_s = self._deadline_s
                continue
            flight = self._flights.land()
            self.now_s = flight.ends_s
            self._landed.append(flight)
            if not flight.is_lost:
                self._record(flight)
                if (place := self._waiting.pop(flight.client, None)) is not None:
                    self._flights.begin(self._opening, place, self.now_s)
        self._outcome = outcome

    @property
    def is_done(self) -> bool:
        return self._outcome == "done"

    @property
    def spoke(self) -> Ids:
        """Who has answered, an older model's manifest included."""
        return np.array(sorted({each.client for each in self._landed if not each.is_lost}), np.intp)

    @property
    def silent(self) -> Ids:
        """Whose answer to this buffer's own manifest is awaited."""
        return np.array(sorted(client_of(each) for each in self._state.silent), np.intp)

    def updates(self) -> tuple[Ids, Ids, Numbers]:
        """(k,) clients, rounds whose models they trained from, and seconds since those were opened."""
        counted = sorted(self._counted(), key=lambda each: (each.client, each.opening.version))
        ids = np.array([each.client for each in counted], np.intp)
        bases = np.array([each.opening.round for each in counted], np.intp)
        return ids, bases, np.array([each.ends_s - each.opening.opened_s for each in counted])

    def summary(self, world: World) -> Attempt:
        """What it took; the batteries pay for it."""
        counted = self._counted()
        lost = sum(each.is_lost for each in self._landed)
        cost = sum((self._pay(world, version) for version in self._versions()), Cost())
        staleness = self._opening.round - self.updates()[1]
        return Attempt(
            closed_s=self.now_s,
            seconds=self.now_s - self._opening.opened_s,
            invited=len(self._opening.ids),
            counted=len(counted),
            refused=len(self._landed) - lost - len(counted),
            lost=lost,
            late=len(self._late),
            cost=cost,
            staleness=histogram(staleness),
        )

    def _record(self, flight: Flight) -> None:
        verdict = Verdict.ACCEPTED
        answer = Answer(device_id(flight.client), b"", verdict, "", base=flight.opening.version)
        if flight.opening.refused[flight.place]:
            self._state.reject(answer._replace(verdict=Verdict.REJECTED))
        else:
            self._state.record(answer)

    def _counted(self) -> list[Flight]:
        return [each for each in self._landed if not each.is_lost and not each.opening.refused[each.place]]

    def _versions(self) -> list[int]:
        return sorted({each.opening.version for each in (*self._landed, *self._late)})

    def _pay(self, world: World, version: int) -> Cost:
        """For the work of one manifest that has ended."""
        late = [each for each in self._late if each.opening.version == version]
        landed = [each for each in self._landed if each.opening.version == version]
        opening = (late or landed)[0].opening
        places = np.array([each.place for each in (*late, *landed)])
        ended = [self._opening.opened_s] * len(late) + [each.ends_s for each in landed]
        seconds = np.array(ended) - [each.began_s for each in (*late, *landed)]
        used = opening.work.take(places).used(seconds)
        world.spend(opening.ids[places], used.joules, self.now_s)
        counts = [False] * len(late) + [self.is_done and not each.is_lost for each in landed]
        return cost_of(used, np.array(counts, np.bool_) & ~opening.refused[places])
