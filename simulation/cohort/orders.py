"""What goes between the processes of a crew."""

from typing import NamedTuple

from simulation.cohort.task import AnyTask, Common


class Order(NamedTuple):
    """What the parent sends."""

    common: Common | None
    """None: as in the order before."""
    shape: tuple[int, int]
    """Of the round's matrix of deltas."""
    task: AnyTask


class Failure(NamedTuple):
    """What is sent in the place of an outcome."""

    text: str
