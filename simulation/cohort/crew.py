"""Who does a round's tasks. All crews give the same numbers; they differ in how many hands they have."""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from simulation.cohort.matrix import allocate
from simulation.cohort.task import AnyTask, Common, Context, Outcome, Task
from simulation.cohort.worker import Worker
from strategies.base import Matrix


class Crew(Protocol):
    """A context manager: what it has started ends with it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def matrix(self, rows: int, columns: int) -> Matrix:
        """For the deltas of a round, not filled in; the next one may be the same memory."""
        ...

    def run(self, common: Common, tasks: Sequence[AnyTask], deltas: Matrix) -> Iterator[Outcome]:
        """In the order of the tasks; row `first + i` of `deltas`, which is `matrix`'s, is of a task's client i.

        Raises:
            CrewError: the work cannot be done.
        """
        ...


MakeCrew = Callable[[Context], Crew]


class OneHand:
    """This process alone."""

    def __init__(self, context: Context) -> None:
        self._worker = Worker(context)
        self._memory: Matrix = allocate((0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was started."""

    def matrix(self, rows: int, columns: int) -> Matrix:
        """The same memory for each round, as far as it is enough: new memory costs more than what is written there."""
        if self._memory.size < rows * columns:
            self._memory = allocate((rows, columns))
        return self._memory.reshape(-1)[: rows * columns].reshape(rows, columns)

    def run(self, common: Common, tasks: Sequence[AnyTask], deltas: Matrix) -> Iterator[Outcome]:
        """One after the other, as they are asked for."""
        for task in tasks:
            yield self._worker.work(common, task, rows_of(task, deltas))


def rows_of(task: AnyTask, deltas: Matrix) -> Matrix:
    """(c, b): where a task's deltas go; no rows for what has none."""
    if not isinstance(task, Task) or not len(deltas):
        return deltas[:0]
    return deltas[task.first : task.first + len(task.ids)]
