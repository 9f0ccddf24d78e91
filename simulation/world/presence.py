"""When devices are there: each an interval after the other, on the virtual clock, in seconds from the job's start."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from fedloom.simulated_world import DAY_S, Availability, Turnover
from simulation.world.draws import Draws, Ids, Numbers, Stream

Times = float | Numbers
"""One moment, or one for each client."""


class Presence(Protocol):
    """Pure: what it says of a device depends on nothing but the device and the time."""

    def until(self, ids: Ids, time_s: Times) -> Numbers:
        """(c,) when a device that is there at `time_s` goes; −∞ for one that is not."""
        ...

    def again(self, ids: Ids, time_s: Times) -> Numbers:
        """(c,) from when on a device is there: `time_s` for one that is, ∞ for one that never is again."""
        ...


class Always:
    """They never go."""

    def until(self, ids: Ids, time_s: Times) -> Numbers:
        """Never."""
        return np.full(len(ids), np.inf)

    def again(self, ids: Ids, time_s: Times) -> Numbers:
        """At once."""
        return np.full(len(ids), time_s, np.float64)


class Diurnal(NamedTuple):
    """Once a day for a share of it, from a time of the day that is the device's own, sooner or later by a jitter."""

    times: Availability
    draws: Draws

    def until(self, ids: Ids, time_s: Times) -> Numbers:
        """The end of the day that it is in."""
        begins = self._begins(ids, time_s, (-1, 0, 1) if self.times.jitter_h else (0, 1))
        ends = begins + self.times.share * DAY_S
        result: Numbers = np.where((begins <= time_s) & (time_s < ends), ends, -np.inf).max(axis=0)
        return result

    def again(self, ids: Ids, time_s: Times) -> Numbers:
        """At once, or when the next day begins."""
        begins = self._begins(ids, time_s, (-1, 0, 1, 2) if self.times.jitter_h else (0, 1, 2))
        is_over = begins + self.times.share * DAY_S <= time_s
        result: Numbers = np.where(is_over, np.inf, np.maximum(begins, time_s)).min(axis=0)
        return result

    def _begins(self, ids: Ids, time_s: Times, days: Sequence[int]) -> Numbers:
        """(d, c) of some days around that of `time_s`, which is 0, or 1 if it has just begun; none overlap."""
        start = self.draws.uniform(Stream.DAY_START, ids) * self.times.spread_h * 3600.0
        today = np.floor((time_s - start) / DAY_S).astype(np.intp)
        return np.stack([(today + day) * DAY_S + start + self._jitter_s(ids, today + day) for day in days])

    def _jitter_s(self, ids: Ids, day: Ids) -> Numbers | float:
        if not self.times.jitter_h:
            return 0.0
        return (2.0 * self.draws.uniform(Stream.DAY_JITTER, ids, day + 3) - 1.0) * self.times.jitter_h * 3600.0


class Joining(NamedTuple):
    """There as `within` says, from when it joins to when it leaves for good."""

    turnover: Turnover
    draws: Draws
    within: Presence

    def until(self, ids: Ids, time_s: Times) -> Numbers:
        """Whichever ends first."""
        joins, leaves = self._stay(ids)
        there = np.where((joins <= time_s) & (time_s < leaves), leaves, -np.inf)
        return np.minimum(there, self.within.until(ids, time_s))

    def again(self, ids: Ids, time_s: Times) -> Numbers:
        """Not before it has joined, and not after it has left."""
        joins, leaves = self._stay(ids)
        result = self.within.again(ids, np.maximum(time_s, joins))
        return np.where(result < leaves, result, np.inf)

    def _stay(self, ids: Ids) -> tuple[Numbers, Numbers]:
        joins = self.draws.uniform(Stream.JOIN, ids) * self.turnover.join_s
        if not self.turnover.stay_s:
            return joins, np.full(len(ids), np.inf)
        stays = -np.log(self.draws.uniform(Stream.STAY, ids)) * self.turnover.stay_s
        return joins, joins + stays
