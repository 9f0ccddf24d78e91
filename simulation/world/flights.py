"""What each device of an asynchronous job is at, and who ends next."""

import heapq
from typing import NamedTuple

from simulation.world.draws import Ids, Mask
from simulation.world.work import Work

_FEW = 64
_Entry = tuple[float, float, int, int]
"""When a flight ends, its tie, client and version."""


class Opening(NamedTuple):
    """An attempt that has invited devices."""

    version: int
    """Of its manifest: attempts are numbered from 1."""
    round: int
    opened_s: float
    ids: Ids
    work: Work
    refused: Mask
    """(c,) whose answer will be no update that is admitted."""


class Flight(NamedTuple):
    """A device at work."""

    opening: Opening
    place: int
    """Among the opening's ids."""
    began_s: float
    ends_s: float
    is_lost: bool
    """It ends because the device is gone."""

    @property
    def client(self) -> int:
        return int(self.opening.ids[self.place])


class Flights:
    """One flight a device at most."""

    def __init__(self) -> None:
        self._flying: dict[int, Flight] = {}
        self._queue: list[_Entry] = []
        """A heap; an entry whose flight was ended before its time is stale."""

    def __contains__(self, client: int) -> bool:
        return client in self._flying

    @property
    def next_s(self) -> float:
        """When the next one ends; ∞ where nobody is at work."""
        while self._queue:
            if self._is_current(self._queue[0]):
                return self._queue[0][0]
            heapq.heappop(self._queue)
        return float("inf")

    def begin(self, opening: Opening, place: int, now_s: float) -> Flight:
        """A free device begins what it was invited to, perhaps later than it was."""
        work = opening.work
        gone_s = min(work.fails_s[place], work.stays_s[place] - (now_s - opening.opened_s))
        ends_s = work.ends_s[place]
        flight = Flight(opening, place, now_s, now_s + max(0.0, float(min(ends_s, gone_s))), bool(ends_s > gone_s))
        self._flying[flight.client] = flight
        heapq.heappush(self._queue, (flight.ends_s, float(work.ties[place]), flight.client, opening.version))
        return flight

    def land(self) -> Flight:
        """The next one ends; there must be one."""
        assert self.next_s < float("inf"), "nobody is at work"  # noqa: S101
        return self._flying.pop(heapq.heappop(self._queue)[2])

    def end_older(self, version: int) -> list[Flight]:
        """End all work of attempts before this one."""
        old = [each for each in self._flying.values() if each.opening.version < version]
        for each in old:
            del self._flying[each.client]
        if len(self._queue) > 2 * len(self._flying) + _FEW:  # or work that is ended again and again would stay there
            self._queue = [entry for entry in self._queue if self._is_current(entry)]
            heapq.heapify(self._queue)
        return old

    def _is_current(self, entry: _Entry) -> bool:
        flight = self._flying.get(entry[2])
        return flight is not None and flight.opening.version == entry[3]
