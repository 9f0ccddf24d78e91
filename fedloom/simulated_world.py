"""How a simulated fleet behaves, and who in it lies: `[simulation.devices]` and `[simulation.attack]` of a job file.

All of it is off by default: devices that are always there, take no time, and are honest.
"""

from typing import Annotated, Literal

import msgspec

from fedloom.errors import ConfigError

_Positive = Annotated[float, msgspec.Meta(gt=0.0)]
_NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]
_Sigma = Annotated[float, msgspec.Meta(ge=0.0, le=5.0)]
_Probability = Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
_Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
_Hours = Annotated[float, msgspec.Meta(ge=0.0, le=24.0)]

DAY_S = 86_400.0
AttackKind = Literal[
    "none",
    "sign_flip",
    "noise",
    "label_flip",
    "alie",
    "inner_product",
    "free_rider",
    "replay",
    "nan",
]


class Compute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How fast devices train: log-normal, each device's own speed times each round's."""

    weights_per_s: _Positive
    """Weights of the model × samples that the median device trains in a second."""
    sigma: _Sigma = 0.0
    """Deviation of ln(speed) from device to device."""
    jitter: _Sigma = 0.0
    """Deviation of ln(time) of one device from round to round."""


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How fast models and updates travel: log-normal; a device that is fast in one direction is in the other."""

    down_bytes_per_s: _Positive
    """To the median device."""
    up_bytes_per_s: _Positive
    """From the median device."""
    sigma: _Sigma = 0.0
    """Deviation of ln(rate) from device to device."""
    jitter: _Sigma = 0.0
    """Deviation of ln(time) of one device from round to round."""
    latency_s: _NotNegative = 0.0
    """Added to each transfer."""


class Availability(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When devices are there; one that leaves while it works is lost to the round."""

    pattern: Literal["diurnal", "trace"]
    """`diurnal`: each device once a day, for the same share of it; `trace`: as a file says."""
    share: _Share = 0.5
    """Used by `diurnal`: of the day that a device is there."""
    spread_h: _Hours = 24.0
    """Used by `diurnal`: over how many hours the devices' days begin; 0: all at once, 24: at any time."""
    jitter_h: Annotated[float, msgspec.Meta(ge=0.0, le=12.0)] = 0.0
    """Used by `diurnal`: how much sooner or later, at most, a device comes on one day than on another."""
    trace: str = ""
    """Used by `trace`: a CSV file beside the job with the columns client, from_s and to_s."""


class Turnover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Devices that join while the job runs, and leave for good."""

    join_s: _NotNegative = 0.0
    """They join over so many seconds, evenly; 0: all are there when the job begins."""
    stay_s: _NotNegative = 0.0
    """How long they stay on average, exponentially distributed; 0: they never leave."""


class Battery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Devices on batteries, full at first: one with too little left for a round takes no part in it."""

    capacity_j: _Positive
    """Of the median device."""
    sigma: _Sigma = 0.0
    """Deviation of ln(capacity) from device to device."""
    reserve: _Probability = 0.2
    """Share of the capacity that is not for training."""
    charge_w: _NotNegative = 5.0
    """While it charges, once a day."""
    charge_h: _Hours = 8.0
    """How long each day, from an hour of the device's own."""


class Devices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What simulated devices are like."""

    compute: Compute | None = None
    """Not set: training takes no time."""
    network: Network | None = None
    """Not set: nothing takes time on its way."""
    availability: Availability | None = None
    """Not set: they are always there."""
    turnover: Turnover | None = None
    """Not set: nobody joins or leaves."""
    battery: Battery | None = None
    """Not set: they are plugged in."""
    ignores: _Probability = 0.0
    """Probability that a device which is invited to a round never begins."""
    drops: _Probability = 0.0
    """Probability that one which has begun is gone before it has answered, at any moment of its work."""
    sample_j: _NotNegative = 0.0
    """Joules to train one sample once."""
    byte_j: _NotNegative = 0.0
    """Joules to send or receive a byte."""


class Attack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What some of the devices do instead of telling the truth; see docs/simulation.md."""

    kind: AttackKind
    share: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.2
    """Of the devices that attack, drawn by the job's seed."""
    strength: _Positive = 1.0
    """Used by `sign_flip`, `noise`, `inner_product` and `replay`: times what it says."""
    start: Annotated[int, msgspec.Meta(ge=1)] = 1
    """The first round from whose model they do; what was begun before is honest, whenever it comes."""


def check_devices(devices: Devices, where: str) -> None:
    """Refuse what each key allows by itself but not together.

    Raises:
        ConfigError: names the two that disagree.
    """
    times = devices.availability
    if times is None:
        return
    key = "simulation.devices.availability"
    if times.pattern == "trace" and not times.trace:
        raise ConfigError(where, f"{key}.trace", "pattern 'trace' needs it", "name a CSV file beside the job")
    if times.pattern == "diurnal" and times.trace:
        raise ConfigError(where, f"{key}.trace", "pattern 'diurnal' has none", "remove it, or set pattern to 'trace'")
    if times.pattern == "diurnal" and times.share * 24.0 + 2.0 * times.jitter_h > 24.0 + 1e-9:
        problem = f"days of {24 * times.share:g} h that move by ±{times.jitter_h:g} h run into each other"
        most = max(0.0, 12.0 - 12.0 * times.share)
        raise ConfigError(where, f"{key}.jitter_h", problem, f"set it to {most:g} at most, or lower share")
