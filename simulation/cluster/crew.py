"""A crew of Ray actors. The context and each round's model go to the object store once, from where all read them.

An actor that is lost, with its process or its machine, is replaced where the cluster has room, and what it was at is
done again: by whom a task is done changes nothing.
"""

import logging
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import ray
from ray.exceptions import RayError, RayTaskError

from simulation.cluster.hand import Hand
from simulation.cohort.crew import rows_of
from simulation.cohort.hands import CrewError
from simulation.cohort.matrix import allocate
from simulation.cohort.task import AnyTask, Common, Context, Outcome
from strategies.base import Matrix

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

log = logging.getLogger(__name__)

_MOST_LOSSES = 3
"""Of workers over one task, or of new ones in a row before they are ready."""
_START_TIMEOUT_S = 60.0
"""Without any worker at all."""


class ClusterCrew:
    """See `simulation.cohort.crew.Crew`; this program is connected to the cluster."""

    def __init__(
        self,
        context: Context,
        workers: int,
        environment: dict[str, str] | None = None,
        start_timeout_s: float = _START_TIMEOUT_S,
    ) -> None:
        """`environment` is the workers', beside what they inherit from their machine's part of the cluster."""
        self._given, self._workers, self._start_timeout_s = context, workers, start_timeout_s
        self._runtime = {"env_vars": environment} if environment else None
        self._context: ObjectRef[Context] | None = None
        self._hands: set[ActorHandle] = set()
        self._starting: dict[ObjectRef[object], ActorHandle] = {}
        self._idle: list[ActorHandle] = []
        self._false_starts = 0
        """Since the last one that was ready."""

    def __enter__(self) -> Self:
        self._context = ray.put(self._given)
        for _ in range(self._workers):
            self._hire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hand in self._hands:
            ray.kill(hand)
        self._hands.clear()
        self._starting.clear()
        self._idle.clear()
        self._context = None

    def matrix(self, rows: int, columns: int) -> Matrix:
        """New memory each time."""
        return allocate((rows, columns))

    def run(self, common: Common, tasks: Sequence[AnyTask], deltas: Matrix) -> Iterator[Outcome]:
        """Each worker gets the next task as soon as it is done with one."""
        told, todo, done, following = ray.put(common), deque(range(len(tasks))), dict[int, Outcome](), 0
        at_work: dict[ObjectRef[object], tuple[ActorHandle, int, Matrix]] = {}
        losses = Counter[int]()
        while following < len(tasks):
            while todo and self._idle:
                hand, number = self._idle.pop(), todo.popleft()
                task = tasks[number]
                at_work[hand.work.remote(told, task)] = hand, number, rows_of(task, deltas)
            answer = self._next(at_work)
            if answer in self._starting:
                self._started(answer)
                continue
            hand, number, rows = at_work.pop(answer)
            try:
                outcome, found = cast("tuple[Outcome, Matrix]", _value(answer))
            except RayError as error:
                losses[number] += 1
                log.warning("worker.lost again=%d: round %d, task %d", losses[number], common.round, number)
                self._lost(hand, error, losses[number], "over the same clients")
                todo.appendleft(number)
            else:
                rows[:] = found
                done[number] = outcome
                self._idle.append(hand)
            while following in done:
                yield done.pop(following)
                following += 1

    def _hire(self) -> None:
        """Ask for one more; it comes when there is a CPU for it."""
        hand = ray.remote(Hand).options(num_cpus=1, runtime_env=self._runtime).remote(self._context)
        self._hands.add(hand)
        self._starting[hand.ready.remote()] = hand

    def _started(self, answer: "ObjectRef[object]") -> None:
        hand = self._starting.pop(answer)
        try:
            _value(answer)
        except RayError as error:
            self._false_starts += 1
            log.warning("worker.lost again=%d: it was not ready yet", self._false_starts)
            self._lost(hand, error, self._false_starts, "before they were ready")
        else:
            self._false_starts = 0
            self._idle.append(hand)

    def _next(self, at_work: "Mapping[ObjectRef[object], object]") -> "ObjectRef[object]":
        """Whoever answers first."""
        timeout_s = None if at_work else self._start_timeout_s
        answers, _ = ray.wait([*at_work, *self._starting], num_returns=1, timeout=timeout_s)
        if not answers:
            problem = f"the cluster has started no worker within {self._start_timeout_s:.0f} s"
            raise CrewError(f"{problem}; `ray status` shows what its CPUs are taken by")
        return answers[0]

    def _lost(self, hand: "ActorHandle", error: RayError, losses: int, when: str) -> None:
        """Another one in its place."""
        self._hands.discard(hand)
        ray.kill(hand)  # it may only have been out of reach
        if losses >= _MOST_LOSSES:
            problem = f"{losses} workers were lost {when}, the last one so: {_last_line(error)}"
            raise CrewError(f"{problem}; if memory ran short, lower --workers")
        self._hire()


def _value(answer: "ObjectRef[object]") -> object:
    """Raises CrewError if the worker says that it cannot be had, RayError if it says nothing."""
    try:
        return ray.get(answer)
    except RayTaskError as error:
        cause = error.cause
        raise CrewError(f"a chunk of clients cannot be trained: {type(cause).__name__}: {cause}") from None


def _last_line(error: RayError) -> str:
    return str(error).strip().rpartition("\n")[2]
