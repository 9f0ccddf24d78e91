"""How a job's rounds go, and when they end."""

import math
from typing import Annotated, Literal

import msgspec

from fedloom.job.numbers import PositiveInt, Share


class Rounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many rounds, who takes part, and when a round closes."""

    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    devices: PositiveInt = 2
    """Devices that must be ready before the job starts."""
    cohort: Share = 1.0
    """Share of the ready devices that trains in a round (C in McMahan et al. 2017)."""
    over_selection: Annotated[float, msgspec.Meta(ge=1.0, le=10.0)] = 1.3
    """Invite so many times the cohort (as far as there are devices), so that silent ones do not matter."""
    quorum: Share = 1.0
    """Share of the cohort whose updates are enough when the deadline comes; fewer, and the round is tried again."""
    min_updates: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Updates that a model is never made of fewer than, however few devices get through or have usable data; 0 is half
    of what `quorum` asks of the cohort of `devices`, rounded up."""
    deadline_s: Annotated[float, msgspec.Meta(gt=0.0, le=604_800.0)] = 60.0
    """Seconds from the manifest until a round closes."""
    evaluate: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 1.0
    """Share of the invited devices that evaluates the new model on its own hold-out each round."""

    @property
    def most(self) -> int:
        """Updates that `devices` may bring to a round."""
        return max(1, math.ceil(self.cohort * self.devices - 1e-9))

    def fewest(self, share: float) -> int:
        """Updates that a model is never made of fewer than, where this share of the devices is asked."""
        return self.min_updates or max(1, math.ceil(self.quorum * share * self.devices / 2 - 1e-9))


class Asynchronous(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Buffered asynchronous aggregation (FedBuff, Nguyen et al. 2022, arXiv:2106.06639): nobody waits for the slowest.

    A round is a buffer: it closes when so many updates are in it, whichever model they were trained from. A device
    finishes what it trains when a newer model comes, and takes that one next.
    """

    buffer: PositiveInt
    """Updates that are fused at once (K in the paper)."""
    max_staleness: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """Rounds, tries included, after which an update of an older model is refused as late; its round's key is kept for
    so long."""


class Stopping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End the job early, when the federated metric has stopped improving."""

    metric: Literal[
        "loss",
        "accuracy",
        "f1",
        "auc",
        "mse",
        "mae",
        "r2",
        "personal_loss",
        "personal_accuracy",
        "personal_f1",
        "personal_auc",
        "personal_mse",
        "personal_mae",
        "personal_r2",
    ] = "loss"
    """`personal_…`: of the devices' own models."""
    tolerance: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """An improvement smaller than this does not count."""
    patience: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Rounds without improvement before the job ends; 0 is never."""
