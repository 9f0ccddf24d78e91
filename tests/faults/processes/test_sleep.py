"""Devices that leave the broker between rounds: woken by SIGHUP, killed asleep, or asleep when the aggregator dies."""

import os
import signal
from collections import Counter
from collections.abc import Callable

import pytest
from process_fleet import AGGREGATOR, DEVICES, Fleet, Model, is_stopped

from aggregator.notices import RoundClosed

pytestmark = pytest.mark.broker
SLOW, KILLED = DEVICES[0], DEVICES[2]


@pytest.fixture
def sleepy(make_fleet: Callable[..., Fleet]) -> Fleet:
    """Told to come back after half an hour or so: so few may check in a second. No round ends by its deadline."""
    fleet = make_fleet(deadline_s=300.0)
    with (fleet.directory / AGGREGATOR / "aggregator.toml").open("a") as file:
        file.write("[pace]\ncheck_ins_per_s = 0.001\n")
    for name in DEVICES:
        with (fleet.directory / name / "edge.toml").open("a") as file:
            file.write("[power]\nsleep_between_rounds = true\n")
    return fleet


def naps(fleet: Fleet, name: str) -> int:
    return fleet.log(name).count("power.sleeping")


class Waker:
    """Wakes devices as their owner may."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._woken: Counter[str] = Counter()

    def wake(self) -> bool:
        """Whoever sleeps; whether all have ended."""
        for name in DEVICES:
            if naps(self._fleet, name) > self._woken[name] and self._fleet.members[name].status is None:
                self._woken[name] += 1
                self.rouse(name)
        return all(child.status == 0 for child in self._fleet.members.values())

    def rouse(self, name: str) -> None:
        if name == KILLED:
            self._fleet.members.pop(name).end()
            self._fleet.start_one(name)
        else:
            os.kill(self._fleet.members[name].pid, signal.SIGHUP)


def test_devices_that_sleep_between_rounds_are_waited_for(sleepy: Fleet, undisturbed: list[Model]) -> None:
    """The aggregator dies while two are away and the third is about to answer."""
    sleepy.start({SLOW: ["device.trained:stop@2"]})
    sleepy.until(lambda: all(naps(sleepy, name) == 1 for name in DEVICES if name != SLOW))
    slow = sleepy.members[SLOW].pid
    assert is_stopped(slow)
    sleepy.members.pop(AGGREGATOR).end()
    sleepy.start_one(AGGREGATOR)
    os.kill(slow, signal.SIGCONT)
    sleepy.until(lambda: any(isinstance(each, RoundClosed) and each.round == 1 for each in sleepy.notices()))
    assert naps(sleepy, SLOW) == 0
    sleepy.until(Waker(sleepy).wake)
    sleepy.finish()
    assert sleepy.deaths == []
    assert sleepy.models() == undisturbed
