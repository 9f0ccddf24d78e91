"""What is left in the devices' batteries. Only devices that have ever spent anything cost memory: the others are full.

Between two moments a device takes `charge_w` times the seconds that its charging hours have between them, as far as the
battery holds it; F(t) are those hours' seconds until t, of days that begin at an hour of the device's own.
"""

import numpy as np

from fedloom.simulated_world import DAY_S, Battery
from simulation.world.draws import Draws, Ids, Mask, Numbers, Stream

_FORGIVEN = 1e-9
"""Of the capacity: what rounding may take."""


class Batteries:
    """Levels in joules; the one part of a world that remembers."""

    def __init__(self, battery: Battery, draws: Draws) -> None:
        self._battery = battery
        self._draws = draws
        self._ids: Ids = np.empty(0, np.intp)
        """Sorted: who has ever spent."""
        self._levels_j: Numbers = np.empty(0)
        self._times_s: Numbers = np.empty(0)

    def capacities(self, ids: Ids) -> Numbers:
        """(c,) joules when full."""
        return self._battery.capacity_j * self._draws.log_normal(self._battery.sigma, Stream.CAPACITY, ids)

    def levels(self, ids: Ids, time_s: float) -> Numbers:
        """(c,) joules at a time that is none before it was last spent from."""
        full = self.capacities(ids)
        place, is_known = self._find(ids)
        if not is_known.any():
            return full
        charged_s = self._charged_s(ids, time_s) - self._charged_s(ids, self._times_s[place])
        charged = self._levels_j[place] + self._battery.charge_w * np.maximum(charged_s, 0.0)
        return np.where(is_known, np.minimum(charged, full), full)

    def suffice(self, ids: Ids, joules: Numbers, time_s: float) -> Mask:
        """(c,) whether so much may be spent, with the reserve kept."""
        result: Mask = self._missing(ids, joules, time_s) <= 0.0
        return result

    def suffice_from(self, ids: Ids, joules: Numbers, time_s: float) -> Numbers:
        """(c,) from when on they suffice if nothing is spent until then: `time_s` or later, ∞ for never."""
        missing = self._missing(ids, joules, time_s)
        reach = (1.0 - self._battery.reserve) * self.capacities(ids)
        rate, day = self._battery.charge_w, self._battery.charge_h * 3600.0
        if not (rate and day):
            return np.where(missing > 0.0, np.inf, time_s)
        wanted_s = self._charged_s(ids, time_s) + missing / rate
        days = np.ceil(wanted_s / day) - 1.0
        then = self._hour(ids) + days * DAY_S + (wanted_s - days * day)
        later = np.where(joules > reach, np.inf, np.maximum(then, time_s))
        return np.where(missing > 0.0, later, time_s)

    def spend(self, ids: Ids, joules: Numbers, time_s: float) -> None:
        """Each of `ids`, no two alike, has spent so much by now."""
        levels = np.maximum(self.levels(ids, time_s) - joules, 0.0)
        place, is_known = self._find(ids)
        self._levels_j[place[is_known]] = levels[is_known]
        self._times_s[place[is_known]] = time_s
        if is_known.all():
            return
        new = ~is_known
        every = np.concatenate([self._ids, ids[new]])
        order = np.argsort(every, kind="stable")
        self._ids = every[order]
        self._levels_j = np.concatenate([self._levels_j, levels[new]])[order]
        self._times_s = np.concatenate([self._times_s, np.full(np.count_nonzero(new), time_s)])[order]

    def _missing(self, ids: Ids, joules: Numbers, time_s: float) -> Numbers:
        full = self.capacities(ids)
        left = self.levels(ids, time_s) - self._battery.reserve * full
        return joules - left - _FORGIVEN * full

    def _find(self, ids: Ids) -> tuple[Ids, Mask]:
        """(c,) places in what is kept, and whether a device is there; a place of one that is not is any."""
        if not self._ids.size:
            return np.zeros(len(ids), np.intp), np.zeros(len(ids), np.bool_)
        place = np.minimum(np.searchsorted(self._ids, ids), self._ids.size - 1)
        return place, self._ids[place] == ids

    def _hour(self, ids: Ids) -> Numbers:
        return self._draws.uniform(Stream.CHARGE_START, ids) * DAY_S

    def _charged_s(self, ids: Ids, time_s: float | Numbers) -> Numbers:
        """F(t)"""
        since, day = time_s - self._hour(ids), self._battery.charge_h * 3600.0
        days = np.floor(since / DAY_S)
        result: Numbers = days * day + np.minimum(since - days * DAY_S, day)
        return result
