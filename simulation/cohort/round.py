"""A round's work: cut into tasks, done by a crew, put together again by client."""

from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from fedloom.job import Job
from fedloom.learning.metrics import Sums
from fedloom.wire.encoding import encoded_bytes
from simulation.cohort.client_state import Held
from simulation.cohort.crew import Crew
from simulation.cohort.cutting import boundaries, test_tasks
from simulation.cohort.matrix import allocate
from simulation.cohort.task import AnyTask, Common, Context, Mask, Outcome, Task, TestTask
from simulation.population.base import Ids
from strategies.base import Matrix


class Asked(NamedTuple):
    """Whom a round asks, in the order of their ids, with what they have kept; see `Task`."""

    ids: Ids
    evaluates: Mask
    residuals: Held | None = None
    variates: Held | None = None
    own: Held | None = None

    def task(self, chunk: int, first: int, last: int) -> Task:
        """Of the clients from `first` to `last`, which is not among them."""
        rows = slice(first, last)
        brought = (None if each is None else each.rows(rows) for each in (self.residuals, self.variates, self.own))
        return Task(chunk, first, self.ids[rows], self.evaluates[rows], *brought)


class Done(NamedTuple):
    """What came of it, (n,) by client; see `Outcome`."""

    deltas: Matrix
    """(n, b)"""
    samples: NDArray[np.int64]
    steps: NDArray[np.int64]
    train_losses: NDArray[np.float64]
    losses: NDArray[np.float64]
    rate_sums: NDArray[np.float64]
    is_able: Mask
    """Who has not declined."""
    reasons: Sequence[str]
    """Why others have, each once."""
    metrics: Sums
    """(figures, m) of all that have evaluated."""
    test: Sums | None
    """(m,) of the test set."""
    residuals: Matrix | None
    controls: Matrix | None
    own: Matrix | None
    keeps: Mask
    sent_bytes: int
    """Of all vectors that were sent, as encoded."""


def work(
    crew: Crew, context: Context, common: Common, asked: Asked, *, first_chunk: int = 0, tests: bool = True
) -> Done:
    """Have a crew do a round: those who are asked, and the test set if it is wanted.

    `first_chunk` numbers the chunks, and so their random numbers, where a round has several such works.
    """
    sizes = context.population.sizes(asked.ids)
    cuts = list(boundaries(sizes, context.job.model, common.plan))
    tasks = _Tasks(asked, cuts, _tests(context) if tests else [], first_chunk)
    rows = len(asked.ids) if common.trains else 0
    deltas = crew.matrix(rows, context.job.shared_layout.size)
    beside = _Beside(len(asked.ids))
    outcomes = [beside.take(tasks, number, each) for number, each in enumerate(crew.run(common, tasks, deltas))]
    done = _put_together(cuts, outcomes[: len(cuts)], deltas, beside)
    return done._replace(test=_total(outcomes[len(cuts) :]), sent_bytes=_sent_bytes(context.job, done))


def tested(crew: Crew, context: Context, common: Common) -> Sums:
    """(m,) of the test set, which there is."""
    nobody = crew.matrix(0, context.job.shared_layout.size)
    total = _total(list(crew.run(common, _tests(context), nobody)))
    assert total is not None  # noqa: S101 - for the type checker
    return total


def _tests(context: Context) -> list[TestTask]:
    return test_tasks(context.test.samples if context.test else 0)


def _total(outcomes: Sequence[Outcome]) -> Sums | None:
    return np.sum([outcome.metrics[0] for outcome in outcomes], axis=0) if outcomes else None


def _sent_bytes(job: Job, done: Done) -> int:
    if not len(done.deltas):
        return 0
    vectors = int(done.is_able.sum()) * (1 if done.controls is None else 2)
    return vectors * encoded_bytes(job.update.encoding, job.shared_layout.size, job.update.options)


class _Tasks(Sequence[AnyTask]):
    """Each is made when it is asked for: what clients bring would be a copy of all that they keep."""

    def __init__(
        self, asked: Asked, cuts: Sequence[tuple[int, int]], tests: Sequence[TestTask], first_chunk: int
    ) -> None:
        self._asked, self.cuts, self._tests, self._first_chunk = asked, cuts, tests, first_chunk

    def __len__(self) -> int:
        return len(self.cuts) + len(self._tests)

    @overload
    def __getitem__(self, number: int) -> AnyTask: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[AnyTask]: ...

    def __getitem__(self, number: int | slice) -> AnyTask | Sequence[AnyTask]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        if number >= len(self.cuts):
            return self._tests[number - len(self.cuts)]
        return self._asked.task(self._first_chunk + number, *self.cuts[number])


class _Beside:
    """What comes back beside the deltas, in one matrix each; that of a chunk goes when it has been copied."""

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self.residuals: Matrix | None = None
        self.controls: Matrix | None = None
        self.own: Matrix | None = None

    def take(self, tasks: _Tasks, number: int, outcome: Outcome) -> Outcome:
        """Returns the rest of it."""
        if number >= len(tasks.cuts):
            return outcome
        cut = tasks.cuts[number]
        self.residuals = self._filled(self.residuals, cut, outcome.residuals)
        self.controls = self._filled(self.controls, cut, outcome.controls)
        self.own = self._filled(self.own, cut, outcome.own)
        return outcome._replace(residuals=None, controls=None, own=None)

    def _filled(self, whole: Matrix | None, cut: tuple[int, int], part: Matrix | None) -> Matrix | None:
        if part is None:
            return whole
        whole = allocate((self._clients, part.shape[1])) if whole is None else whole
        whole[slice(*cut)] = part
        return whole


def _put_together(
    cuts: Sequence[tuple[int, int]], outcomes: Sequence[Outcome], deltas: Matrix, beside: _Beside
) -> Done:
    is_able = np.ones(cuts[-1][1], np.bool_)
    for (first, _), outcome in zip(cuts, outcomes, strict=True):
        is_able[[first + place for place in outcome.declined]] = False
    reasons = sorted({reason for outcome in outcomes for reason in outcome.declined.values()})
    return Done(
        deltas,
        np.concatenate([outcome.samples for outcome in outcomes]),
        np.concatenate([outcome.steps for outcome in outcomes]),
        np.concatenate([outcome.train_losses for outcome in outcomes]),
        np.concatenate([outcome.losses for outcome in outcomes]),
        np.concatenate([outcome.rate_sums for outcome in outcomes]),
        is_able,
        reasons,
        np.sum([outcome.metrics for outcome in outcomes], axis=0),
        None,
        beside.residuals,
        beside.controls,
        beside.own,
        np.concatenate([outcome.keeps for outcome in outcomes]),
        0,
    )
