"""The stages of a job, see aggregator.coordinator."""

from enum import Enum
from typing import NamedTuple

from aggregator.notices import RoundClosed
from aggregator.records import RoundRecord


class Stage(Enum):
    """What the coordinator is waiting for."""

    WAITING = "devices"
    TURNING = "the store"
    COLLECTING = "updates"
    FUSING = "the fusion"
    DONE = "nothing"


class Turning(NamedTuple):
    """What to say when a turn is durable."""

    closed: RoundClosed | None
    opened: RoundRecord | None
    began_s: float
