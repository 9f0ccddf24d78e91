"""Which rows a group of clients sees at which step.

The clients of a group take the same number of steps in an epoch, so that they walk in lock step and no step is wasted;
where one has fewer rows in a batch than the others, the rest is filled with rows that count zero.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Array
from fedloom.learning.plan import TrainPlan
from simulation.cohort.shards import Positions, Shards

_LEAST_FILLED = 0.8
"""Of a group's batch is filled in the worst case: a client with fewer rows begins a group of its own."""


class Group(NamedTuple):
    """Clients in lock step."""

    clients: Positions
    """(g,) which of the cohort's clients, by falling number of samples."""
    batch: int
    """Rows a step, of the client with the most."""
    epoch_steps: int


def groups(samples: Positions, plan: TrainPlan, largest: int) -> Iterator[Group]:
    """All clients that have samples, in groups of `largest` at most."""
    batch = np.minimum(samples, plan.batch_size or samples.max(initial=0))
    steps = -(-samples // np.maximum(batch, 1))
    order = np.lexsort((-samples, -steps))
    order = order[samples[order] > 0]
    if not len(order):
        return
    starts = _starts(steps[order], batch[order], largest)
    for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
        clients = order[start:stop]
        yield Group(clients, int(batch[clients[0]]), int(steps[clients[0]]))


def _starts(steps: Positions, batch: Positions, largest: int) -> list[int]:
    """Where a new group begins among clients that are sorted by steps and batch, both falling."""
    starts: list[int] = []
    differs = (steps[1:] != steps[:-1]) | (batch[1:] != batch[:-1])
    changes = [0, *(np.flatnonzero(differs) + 1).tolist()]
    for start, end in zip(changes, [*changes[1:], len(steps)], strict=True):  # all between the two are alike
        if not (starts and steps[start] == steps[starts[-1]] and batch[start] >= _LEAST_FILLED * batch[starts[-1]]):
            starts.append(start)
        while end - starts[-1] > largest:
            starts.append(starts[-1] + largest)
    return starts


class Schedule:
    """The rows and weights of every step of a group."""

    def __init__(self, group: Group, shards: Shards, plan: TrainPlan, rng: np.random.Generator) -> None:
        samples, clients, batch = shards.samples[group.clients], len(group.clients), group.batch
        self._epoch_steps = group.epoch_steps
        planned = plan.local_epochs * group.epoch_steps
        self.total_steps = min(planned, plan.max_steps or planned)
        is_shuffled = plan.shuffle and group.epoch_steps > 1
        epochs = -(-self.total_steps // group.epoch_steps) if is_shuffled else 1
        padded, shape = group.epoch_steps * batch, (clients, group.epoch_steps, batch)
        has_row = None if samples[-1] == padded else np.arange(padded) < samples[:, None]
        keys = rng.random((epochs, clients, padded), np.float32) if is_shuffled else None
        rows = shards.rows[_positions(padded, keys, has_row) + shards.starts[group.clients][:, None]]
        self._rows = rows.reshape(epochs, *shape).transpose(0, 2, 1, 3)
        self.filled: Array | None = None
        """(epoch steps, g, batch) 1 where there is a row, else 0; None if there is one everywhere."""
        if has_row is not None:
            self.filled = np.ascontiguousarray(has_row.reshape(shape).transpose(1, 0, 2), shards.x.dtype)
        self._batch = batch
        self._dtype = shards.x.dtype
        self.row_weights = shards.row_weights

    def rows(self, start: int, stop: int) -> Positions:
        """(stop − start, g, batch) rows of the pool for these steps."""
        epoch, first = divmod(start, self._epoch_steps)
        last = first + stop - start
        if last <= self._epoch_steps:
            rows: Positions = self._rows[epoch % len(self._rows), first:last]  # a view
        else:
            steps = np.arange(start, stop)
            rows = self._rows[(steps // self._epoch_steps) % len(self._rows), steps % self._epoch_steps]
        return rows

    def share(self, step: int, rows: Positions) -> float | Array:
        """What each row (g, batch) of a step counts, as `TrainingStep.run` takes it: weight/m, zero where none is."""
        if self.filled is None and self.row_weights is None:
            return 1.0 / self._batch
        if self.filled is None:
            share: Array = np.full(rows.shape, 1.0 / self._batch, self._dtype)
        else:
            filled = self.filled[step % self._epoch_steps]
            share = filled / filled.sum(axis=1, keepdims=True)
        if self.row_weights is not None:
            share *= self.row_weights[rows]
        return share[..., None]


def _positions(padded: int, keys: Array | None, has_row: NDArray[np.bool_] | None) -> Positions:
    """(epochs, g, padded) positions among a client's samples, in the order of its random `keys` (epochs, g, padded).

    Where `has_row` (g, padded) says that none is, 0; None: there is one everywhere. Without `keys` as they lie, and
    without the axes along which all are alike.
    """
    if keys is None:
        order = np.arange(padded)
    else:
        if has_row is not None:
            keys[:, ~has_row] = 2.0  # what is not there comes last
        order = np.argsort(keys, axis=2)
    return order if has_row is None else np.where(has_row, order, 0)
