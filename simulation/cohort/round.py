"""A round's work: cut into tasks, done by a crew, put together again by client."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.job import Job
from fedloom.learning.metrics import Sums
from fedloom.wire.encoding import encoded_bytes
from simulation.cohort.crew import Crew
from simulation.cohort.cutting import boundaries, test_tasks
from simulation.cohort.task import AnyTask, Common, Context, Mask, Outcome, Task
from simulation.population.base import Ids
from strategies.base import Matrix


class Asked(NamedTuple):
    """Whom a round asks, in the order of their ids, with what they have kept; see `Task`."""

    ids: Ids
    evaluates: Mask
    residuals: Matrix | None = None
    variates: Matrix | None = None
    own: Matrix | None = None


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
    tasks = _cut(context, common, asked, first_chunk)
    rows = len(asked.ids) if common.trains else 0
    deltas = crew.matrix(rows, context.job.shared_layout.size)
    outcomes = list(crew.run(common, [*tasks, *(_tests(context) if tests else ())], deltas))
    done = _put_together(tasks, outcomes[: len(tasks)], deltas)
    return done._replace(test=_total(outcomes[len(tasks) :]), sent_bytes=_sent_bytes(context.job, done))


def tested(crew: Crew, context: Context, common: Common) -> Sums:
    """(m,) of the test set, which there is."""
    nobody = crew.matrix(0, context.job.shared_layout.size)
    total = _total(list(crew.run(common, _tests(context), nobody)))
    assert total is not None  # noqa: S101 - for the type checker
    return total


def _tests(context: Context) -> list[AnyTask]:
    return [*test_tasks(context.test.samples if context.test else 0)]


def _total(outcomes: Sequence[Outcome]) -> Sums | None:
    return np.sum([outcome.metrics[0] for outcome in outcomes], axis=0) if outcomes else None


def _sent_bytes(job: Job, done: Done) -> int:
    if not len(done.deltas):
        return 0
    vectors = int(done.is_able.sum()) * (1 if done.controls is None else 2)
    return vectors * encoded_bytes(job.update.encoding, job.shared_layout.size, job.update.options)


def _cut(context: Context, common: Common, asked: Asked, first_chunk: int) -> list[Task]:
    sizes = context.population.sizes(asked.ids)
    cuts = boundaries(sizes, context.job.model, common.plan)
    return [
        Task(chunk, first, *(None if each is None else each[first:last] for each in asked))  # type: ignore[arg-type]  # ids and evaluates are never None
        for chunk, (first, last) in enumerate(cuts, first_chunk)
    ]


def _put_together(tasks: Sequence[Task], outcomes: Sequence[Outcome], deltas: Matrix) -> Done:
    is_able = np.ones(sum(len(task.ids) for task in tasks), np.bool_)
    for task, outcome in zip(tasks, outcomes, strict=True):
        is_able[[task.first + place for place in outcome.declined]] = False
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
        _stacked(outcome.residuals for outcome in outcomes),
        _stacked(outcome.controls for outcome in outcomes),
        _stacked(outcome.own for outcome in outcomes),
        np.concatenate([outcome.keeps for outcome in outcomes]),
        0,
    )


def _stacked(parts: Iterable[Matrix | None]) -> Matrix | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None
