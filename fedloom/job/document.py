"""A job as a whole."""

from typing import Annotated

import msgspec

from fedloom.job.choices import CohortChoice, StrategyChoice
from fedloom.job.data import Data
from fedloom.job.rounds import Asynchronous, Rounds, Stopping
from fedloom.job.updates import UpdateRules
from fedloom.learning.layout import Layout
from fedloom.learning.personal import PREFIX, Personal, shared_layout
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.simulated import Simulation
from fedloom.sweep import Sweep

_LETTERS = "lower-case letters, digits, - and _, 64 at most, of which the first is a letter or a digit"
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z", description=_LETTERS)]


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model to learn together."""

    name: Name
    model: ModelSpec
    data: Data
    training: TrainPlan
    rounds: Rounds
    update: UpdateRules = UpdateRules()
    asynchronous: Asynchronous | None = None
    """Not set: synchronous rounds."""
    personal: Personal | None = None
    """Not set: one model for all."""
    stopping: Stopping = Stopping()
    strategy: StrategyChoice = StrategyChoice()
    cohort: CohortChoice = CohortChoice()
    simulation: Simulation | None = None
    """Data and devices of a simulated fleet; a fleet ignores it."""
    sweep: Sweep = {}
    """Values to compare, by dotted path; a fleet and a simulation of one job ignore it."""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    warm_start: str = ""
    """A saved fedloom model or an ONNX file, beside the job file, to start from; empty is a seeded random start."""

    @property
    def shared_layout(self) -> Layout:
        """Of the model's first weights, which travel in updates and are fused; the others stay on the devices."""
        return shared_layout(self.model, self.personal)

    def figures_of(self, *, trains: bool) -> tuple[str, ...]:
        """Prefixes of the figures that devices measure in a round: of the round's model, and of their own."""
        return ("", PREFIX) if self.personal and self.personal.is_measured(trains=trains) else ("",)
