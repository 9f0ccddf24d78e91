"""Which fault comes when: drawn from a seed, so that a run can be had again. Pure."""

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What is done to somebody."""

    KILL_DEVICE = "a device is killed"
    STOP_DEVICE = "a device hangs (half-open connection)"
    END_DEVICE = "a device is restarted by SIGTERM"
    POWER_CUT = "many devices are killed at once"
    KILL_AGGREGATOR = "the aggregator is killed"
    STOP_AGGREGATOR = "the aggregator hangs"
    KILL_BROKER = "the broker is killed, its storage as it was"
    WIPE_BROKER = "the broker is killed, its storage wiped"
    STOP_BROKER = "the broker hangs"


WEIGHTS = {
    Kind.KILL_DEVICE: 30,
    Kind.STOP_DEVICE: 20,
    Kind.END_DEVICE: 10,
    Kind.POWER_CUT: 8,
    Kind.KILL_AGGREGATOR: 9,
    Kind.STOP_AGGREGATOR: 6,
    Kind.KILL_BROKER: 5,
    Kind.WIPE_BROKER: 5,
    Kind.STOP_BROKER: 7,
}
MAX_HANG_DEVICE_S = 25.0
"""Above one and a half keepalives: the broker gives the device up."""
MAX_HANG_SERVER_S = 6.0
POWER_CUT_SHARE = 0.3


class Fault(NamedTuple):
    """One of them."""

    at_s: float
    """Seconds after the first."""
    kind: Kind
    devices: tuple[int, ...] = ()
    """Indices of the devices that it hits."""
    hold_s: float = 0.0
    """How long somebody hangs."""


def draw_faults(seed: int, devices: int, every_s: float) -> Iterator[Fault]:
    """Faults without end, a Poisson process with a mean of `every_s` seconds between two; `devices` may be hit."""
    rng = random.Random(seed)
    at_s = 0.0
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    while True:
        at_s += rng.expovariate(1.0 / every_s)
        kind = rng.choices(kinds, weights)[0]
        hit: tuple[int, ...] = ()
        if kind is Kind.POWER_CUT:
            hit = tuple(sorted(rng.sample(range(devices), max(1, int(POWER_CUT_SHARE * devices)))))
        elif kind in (Kind.KILL_DEVICE, Kind.STOP_DEVICE, Kind.END_DEVICE):
            hit = (rng.randrange(devices),)
        hold_s = {
            Kind.STOP_DEVICE: rng.uniform(1.0, MAX_HANG_DEVICE_S),
            Kind.STOP_AGGREGATOR: rng.uniform(0.5, MAX_HANG_SERVER_S),
            Kind.STOP_BROKER: rng.uniform(0.5, MAX_HANG_SERVER_S),
        }.get(kind, 0.0)
        yield Fault(at_s, kind, hit, hold_s)
