"""How a group of clients walks through its schedule: a step at a time, which suits every plan."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

from fedloom.learning.layout import Array
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.step import TrainingStep
from simulation.cohort.schedule import Schedule
from simulation.cohort.shards import Positions, Shards

Rows = slice | Positions
"""Some of the clients; a slice, which is a view, where their numbers follow each other."""


class Walker(Protocol):
    """Trains one group after the other, all of the same size."""

    @property
    def stride(self) -> int:
        """Steps that it likes to take at once."""
        ...

    def start(self, weights: Array, linear: Array | float, anchor: Array | None) -> None:
        """As `TrainingStep.start`."""
        ...

    def walk(
        self,
        shards: Shards,
        schedule: Schedule,
        first: int,
        rates: Sequence[float],
        rng: np.random.Generator,
        values: Array,
    ) -> None:
        """Take a step for each rate, from step `first` on; `values` (steps, g, batch) receives the losses before it."""
        ...

    def read(self, which: Rows, start: Array, out: Array, rows: Rows) -> None:
        """What these of the group's clients have learnt: their weights less `start`, (p,) or a row each, into the
        `rows` of `out`.
        """
        ...


class InPlace(ABC):
    """For walkers that have the clients' weights as one (g, p) array."""

    @property
    @abstractmethod
    def weights(self) -> Array:
        """(g, p) as they are now."""

    def read(self, which: Rows, start: Array, out: Array, rows: Rows) -> None:
        """See `Walker`."""
        if isinstance(rows, slice):
            np.subtract(self.weights[which], start, out=out[rows])
        else:
            out[rows] = self.weights[which] - start


class StepByStep(InPlace):
    """Any plan, with the very step that devices take."""

    stride = 1

    def __init__(self, spec: ModelSpec, plan: TrainPlan, clients: int, batch: int, dtype: DTypeLike) -> None:
        self._step = TrainingStep(spec, plan, clients, batch, dtype)
        self._batch = batch
        self.start = self._step.start

    @property
    def weights(self) -> Array:
        """(g, p)."""
        return self._step.network.weights

    def walk(
        self,
        shards: Shards,
        schedule: Schedule,
        first: int,
        rates: Sequence[float],
        rng: np.random.Generator,
        values: Array,
    ) -> None:
        """See `Walker`."""
        inputs = self._step.network.inputs(self._batch)
        for number, rate in enumerate(rates):
            rows = schedule.rows(first + number, first + number + 1)[0]
            np.copyto(inputs, shards.x.take(rows, axis=0))
            share = schedule.share(first + number, rows)
            self._step.run(self._batch, shards.targets.take(rows, axis=0), share, rate, rng, values[number])
