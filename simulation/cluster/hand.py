"""The actor: a worker somewhere on the cluster."""

from simulation.cohort.matrix import allocate
from simulation.cohort.task import AnyTask, Common, Context, Outcome, Task
from simulation.cohort.worker import Worker
from strategies.base import Matrix


class Hand:
    """Has its context once; what it is told in a round stays there no longer."""

    def __init__(self, context: Context) -> None:
        self._worker = Worker(context)
        self._columns = context.job.shared_layout.size

    def ready(self) -> None:
        """Once it is there."""

    def work(self, common: Common, task: AnyTask) -> tuple[Outcome, Matrix]:
        """The outcome, and (c, b) the deltas of the task's clients: no rows where there are none."""
        rows = len(task.ids) if common.trains and isinstance(task, Task) else 0
        deltas = allocate((rows, self._columns))
        return self._worker.work(common, task, deltas), deltas
