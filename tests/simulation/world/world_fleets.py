"""Small simulated fleets for tests."""

import numpy as np

from fedloom.job.rounds import Rounds
from fedloom.simulated_world import Compute, Devices
from simulation.world.door import Chosen
from simulation.world.draws import Numbers
from simulation.world.work import Load, Work
from simulation.world.world import World


def load(samples=100, weights=10, down_bytes=1000, up_bytes=400):
    """Of a job in which all devices have as many samples."""
    return Load(weights, down_bytes, up_bytes, lambda ids: np.full(len(ids), samples))


def world(folder, clients=4, seed=1, given=None, **devices):
    """Of devices that are all alike unless it is said otherwise."""
    return World(Devices(**devices), given or load(), clients, seed, folder)


class Timed:
    """A world in which device i needs so many seconds each time; ∞: it ignores all."""

    is_always_there = True

    def __init__(self, seconds) -> None:
        self.clients = len(seconds)
        self.spent = np.zeros(len(seconds))
        self._seconds = np.array(seconds, np.float64)
        self._devices = Devices(sample_j=1.0, compute=Compute(1.0))

    def gathered(self, count: int, time_s: float):
        return time_s, np.arange(self.clients)

    def work(self, ids, time_s: float, moment: int) -> Work:
        seconds: Numbers = self._seconds[ids]
        zeros, fails_s = np.zeros(len(ids)), np.where(np.isinf(seconds), -1.0, np.inf)
        trains_s = np.where(np.isinf(seconds), 1.0, seconds)
        stays_s = np.full(len(ids), np.inf)
        return Work(
            zeros,
            trains_s,
            zeros,
            np.full(len(ids), 100.0),
            fails_s,
            stays_s,
            ids.astype(np.float64),
            load(),
            self._devices,
        )

    def spend(self, ids, joules, time_s: float) -> None:
        np.add.at(self.spent, ids, joules)


def everybody(target):
    """Invites all that are ready."""
    return lambda ready, number, attempt: Chosen(ready, np.ones(len(ready), np.bool_), target)


def nobody(ids, number):
    """Is refused."""
    return np.zeros(len(ids), np.bool_)


def rounds(**given):
    """With a deadline of a minute."""
    return Rounds(**({"count": 9, "deadline_s": 60.0} | given))
