"""Does the tasks of a crew: trains and evaluates a chunk of clients as their devices would, all at once.

What comes of a task depends on the context, the round and the task alone, not on what was done before. None of the
three is written to: they may be read-only, and the same memory for others.
"""

from simulation.cohort.chunk import Chunk
from simulation.cohort.measuring import metric_sums
from simulation.cohort.outcome import nothing
from simulation.cohort.task import AnyTask, Common, Context, Outcome, TestTask
from simulation.cohort.trainers import Trainers
from strategies.base import Matrix


class Worker:
    """Keeps the kernel's buffers from task to task."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._trainers = Trainers(context.job.model, context.backend)

    def work(self, common: Common, task: AnyTask, deltas: Matrix) -> Outcome:
        """Do it; `deltas` (c, b) receives what arrives of the clients' updates, zeros where there is none."""
        if isinstance(task, TestTask):
            return self._test(common, task)
        chunk = Chunk(self._context, self._trainers, common, task)
        return chunk.train(deltas) if common.trains else chunk.evaluate()

    def _test(self, common: Common, task: TestTask) -> Outcome:
        test = self._context.test
        assert test is not None  # noqa: S101 - for the type checker: there are such tasks where there is a test set
        rows = slice(task.start, task.stop)
        part = test._replace(x=test.x[rows], y=test.y[rows])
        return nothing(0)._replace(metrics=metric_sums(self._context.job, common.weights, part)[None])
