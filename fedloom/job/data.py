"""What the samples of a job are."""

from typing import Annotated, Literal

import msgspec

from fedloom.features import summary_names
from fedloom.job.numbers import PositiveInt


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cut each recording into windows and describe each by summary features, on the device."""

    length: Annotated[int, msgspec.Meta(ge=4, le=100_000)]
    """Rows a window."""
    hop: PositiveInt
    """Rows from the start of a window to the start of the next."""
    summary: Literal["motion"] = "motion"


class Holdout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The samples that a device keeps for evaluation and never trains on."""

    fraction: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.2
    by: Literal["tail", "random"] = "tail"
    """`tail`: the last rows of each group, before windows are cut, so that none straddles; `random`: seeded draw."""


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every device must hand to the model; where it comes from is the device's own configuration."""

    features: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Columns of a table; in an NPZ file also names of (n, k) arrays. Order matters."""
    target: str
    """The column (or array) that the model learns to predict."""
    classes: tuple[str, ...] = ()
    """Classification: the labels, in the order of the model's outputs. Empty for regression."""
    groups: tuple[str, ...] = ()
    """A change in any of these columns starts a new recording; windows and hold-out never cross it."""
    window: Window | None = None
    holdout: Holdout = Holdout()
    standardise: bool = True
    """Learn mean and deviation of the features over all devices before round 1; they become the input layer."""

    def input_names(self, inputs: int) -> tuple[str, ...]:
        """What each of a model's `inputs` is, in order; empty where an array gives several, which have no names."""
        names = summary_names(self.features) if self.window else self.features
        return names if len(names) == inputs else ()
