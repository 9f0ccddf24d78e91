"""The stages of a job, see aggregator.coordinator."""

from enum import Enum


class Stage(Enum):
    """What the coordinator is waiting for."""

    WAITING = "devices"
    TURNING = "the store"
    COLLECTING = "updates"
    FUSING = "the fusion"
    DONE = "nothing"
