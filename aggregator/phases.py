"""What comes after what: statistics, training rounds, final evaluation, done."""

from collections.abc import Sequence
from typing import NamedTuple

from aggregator.records import Figures
from fedloom.job import Job
from fedloom.job.rounds import Stopping
from fedloom.learning.metrics import lower_is_better
from fedloom.wire.messages import Phase


class Step(NamedTuple):
    """A round to be opened."""

    phase: Phase
    round: int
    attempt: int = 1

    def again(self) -> "Step":
        """The same round, tried once more."""
        return self._replace(attempt=self.attempt + 1)


def first(job: Job, is_standardised: bool) -> Step:
    """The first round; a model to start from may bring its own input layer."""
    if job.data.standardise and not is_standardised:
        return Step(Phase.STATISTICS, 0)
    return Step(Phase.TRAIN, 1)


def after(step: Step, job: Job, history: Sequence[Figures]) -> Step:
    """What follows when `step` is done; `history` has the metrics of the models so far."""
    if step.phase is Phase.STATISTICS:
        return Step(Phase.TRAIN, 1)
    if step.phase is Phase.EVALUATE:
        return Step(Phase.DONE, step.round, step.attempt)  # no task of the end looks older than one of the evaluation
    if step.round < job.rounds.count and not has_converged(history, job.stopping):
        return Step(Phase.TRAIN, step.round + 1)
    return Step(Phase.EVALUATE if job.rounds.evaluate else Phase.DONE, step.round + 1)


def has_converged(history: Sequence[Figures], stopping: Stopping) -> bool:
    """Whether the best of the last `patience` models is no improvement on the best before them."""
    values = [score(figures, stopping) for figures in history if stopping.metric in figures]
    if stopping.patience == 0 or len(values) <= stopping.patience:
        return False
    return max(values[-stopping.patience :]) <= max(values[: -stopping.patience]) + stopping.tolerance


def remember(history: Sequence[Figures], stopping: Stopping) -> list[Figures]:
    """What `has_converged` needs of a history, which grows with the rounds: the best of the older ones and the newest.

    >>> remember([{"loss": 3.0}, {"loss": 1.0}, {"loss": 2.0}, {"loss": 4.0}], Stopping(patience=1))
    [{'loss': 1.0}, {'loss': 4.0}]
    """
    if stopping.patience == 0:
        return list(history[-1:])
    older, newest = history[: -stopping.patience], history[-stopping.patience :]
    return [max(older, key=lambda figures: score(figures, stopping)), *newest] if older else list(newest)


def score(figures: Figures, stopping: Stopping) -> float:
    """The metric that counts, with the sign that makes greater better; models without it come last."""
    value = figures.get(stopping.metric)
    if value is None:
        return float("-inf")
    return -value if lower_is_better(stopping.metric) else value
