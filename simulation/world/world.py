"""A job's fleet on a virtual clock: who is there, what a round's work takes of whom, what is left in the batteries."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fedloom.errors import FedloomError
from fedloom.simulated_world import Devices
from simulation.world.battery import Batteries
from simulation.world.draws import Draws, Ids, Numbers
from simulation.world.presence import Always, Diurnal, Joining, Presence
from simulation.world.trace import read_trace
from simulation.world.work import Load, Used, Work, Workshop

_PART = 2**20
"""Devices that are looked at at once: bounds the memory of a large population."""
_STEPS = 10_000
"""Moments that are tried before a job waits in vain."""
_STEP_S = 1e-3


class StandstillError(FedloomError):
    """The simulated fleet can never do what the job asks for."""


class World:
    """All times are seconds from the job's start. Only the batteries remember anything."""

    def __init__(self, devices: Devices, load: Load, clients: int, seed: int, folder: Path) -> None:
        """`folder`: where the job file is, and a trace beside it.

        Raises:
            DataError: the trace cannot be read, or says something impossible.
        """
        self.clients = clients
        draws = Draws(seed)
        self._workshop = Workshop(devices, load, draws)
        self._presence = make_presence(devices, draws, clients, folder)
        self._batteries = Batteries(devices.battery, draws) if devices.battery else None

    @property
    def is_always_there(self) -> bool:
        """Whether everybody can take part at any time."""
        return isinstance(self._presence, Always) and self._batteries is None

    def ready(self, time_s: float) -> Ids:
        """Who is there, with enough in the battery for a round; in order."""
        if self.is_always_there:
            return np.arange(self.clients)
        return np.concatenate([self._ready_of(ids, time_s) for ids in self._parts()])

    def gathered(self, count: int, time_s: float) -> tuple[float, Ids]:
        """The first moment, `time_s` or later, at which so many are ready, and who they are.

        Raises:
            StandstillError: there is none.
        """
        for _ in range(_STEPS):
            if len(ready := self.ready(time_s)) >= count:
                return time_s, ready
            then_s = self._enough_s(count, time_s)
            if then_s == np.inf:
                break
            time_s = max(then_s, time_s + _STEP_S)
        problem = f"from {time_s:,.0f} s on there are never again {count:,} of {self.clients:,} devices at once"
        raise StandstillError(f"{problem}; lower rounds.devices or rounds.min_updates, or see [simulation.devices]")

    def work(self, ids: Ids, time_s: float, moment: int) -> Work:
        """What the round that opens now takes of these, who are ready; `moment` is its number among all attempts."""
        return self._workshop.work(ids, self._presence.until(ids, time_s) - time_s, moment)

    def full(self, ids: Ids) -> Used:
        """What each of these has spent when it has answered."""
        return self._workshop.full(ids)

    def spend(self, ids: Ids, joules: Numbers, time_s: float) -> None:
        """Each of these, no two alike, has spent so much by now."""
        if self._batteries and len(ids):
            self._batteries.spend(ids, joules, time_s)

    def _parts(self) -> Iterator[Ids]:
        for start in range(0, self.clients, _PART):
            yield np.arange(start, min(start + _PART, self.clients))

    def _ready_of(self, ids: Ids, time_s: float) -> Ids:
        there = ids[self._presence.until(ids, time_s) > time_s]
        if self._batteries is None:
            return there
        return there[self._batteries.suffice(there, self._workshop.full_joules(there), time_s)]

    def _enough_s(self, count: int, time_s: float) -> float:
        """A moment before which so many are not ready; ∞ where they never are."""
        if count > self.clients:
            return np.inf
        ready_s = np.concatenate([self._ready_from(ids, time_s) for ids in self._parts()])
        return float(np.partition(ready_s, count - 1)[count - 1])

    def _ready_from(self, ids: Ids, time_s: float) -> Numbers:
        """(c,) a moment before which a device is not ready; it is now, where that is `time_s`."""
        there_s = self._presence.again(ids, time_s)
        if self._batteries is None:
            return there_s
        return np.maximum(there_s, self._batteries.suffice_from(ids, self._workshop.full_joules(ids), time_s))


def make_presence(devices: Devices, draws: Draws, clients: int, folder: Path) -> Presence:
    """When the devices of a job are there.

    Raises:
        DataError: the trace cannot be read, or says something impossible.
    """
    times = devices.availability
    within: Presence = Always()
    if times and times.pattern == "trace":
        within = read_trace(folder / times.trace, clients)
    elif times and times.share < 1.0:
        within = Diurnal(times, draws)
    return Joining(devices.turnover, draws, within) if devices.turnover else within
