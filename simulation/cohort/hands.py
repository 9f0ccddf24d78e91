"""A crew of worker processes, each with one BLAS thread; the pool and the deltas are memory that all of them share.

A worker that dies is replaced, and what it was at is done again: by whom a task is done changes nothing.
"""

import os
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from fedloom.errors import FedloomError
from simulation.children import die_with_parent, interrupts_held, one_blas_thread
from simulation.cohort import shared
from simulation.cohort.matrix import NoRoomError
from simulation.cohort.orders import Failure, Order
from simulation.cohort.task import AnyTask, Common, Context, Outcome
from strategies.base import Matrix

_MOST_DEATHS = 3
"""Of workers over one task."""
_STOP_TIMEOUT_S = 5.0

if TYPE_CHECKING:
    Link = Connection[object, object]
else:
    Link = Connection


class CrewError(FedloomError):
    """The workers cannot do their work."""

    exit_status = 1


class _Hand(NamedTuple):
    """A worker."""

    process: subprocess.Popen[bytes]
    link: Link


class Hands:
    """See `simulation.cohort.crew.Crew`; start it from a thread that lives as long as it shall."""

    def __init__(self, context: Context, workers: int) -> None:
        self._workers = workers
        self._context, self._packed = shared.pack(context)
        self._deltas, self._size_bytes = shared.new_file(0), 0
        self._matrix = shared.matrix(self._deltas, (0, 0))
        self._hands: list[_Hand] = []

    def __enter__(self) -> Self:
        self._hands = [self._hire() for _ in range(self._workers)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hand in self._hands:
            hand.link.close()
        for hand in self._hands:
            try:
                hand.process.wait(0.0 if error else _STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                hand.process.kill()
                hand.process.wait()
        self._hands = []
        os.close(self._context)
        os.close(self._deltas)

    @property
    def processes(self) -> list[int]:
        """Their ids."""
        return [hand.process.pid for hand in self._hands]

    def matrix(self, rows: int, columns: int) -> Matrix:
        """The same memory for each round: to map it anew costs a fault a page."""
        needed = 4 * rows * columns
        if needed > self._size_bytes:
            try:
                shared.reserve(self._deltas, needed)
            except NoRoomError:
                self._move(shared.new_file(needed))
            self._size_bytes = needed
        if self._matrix.shape != (rows, columns):
            self._matrix = shared.matrix(self._deltas, (rows, columns))
        return self._matrix

    def _move(self, deltas: int) -> None:
        """Into another file; a worker has the one that it was started with."""
        os.close(self._deltas)
        self._deltas = deltas
        for hand in self._hands:
            hand.link.close()
            hand.process.kill()
            hand.process.wait()
        self._hands = [self._hire() for _ in range(self._workers)]

    def run(self, common: Common, tasks: Sequence[AnyTask], deltas: Matrix) -> Iterator[Outcome]:
        """Each worker gets the next task as soon as it is done with one."""
        todo, done, at_work = deque(range(len(tasks))), dict[int, Outcome](), dict[Link, int]()
        idle, told, deaths = [hand.link for hand in self._hands], set[Link](), Counter[int]()
        shape, following = (deltas.shape[0], deltas.shape[1]), 0
        while following < len(tasks):
            while todo and idle:
                link, number = idle.pop(), todo.popleft()
                at_work[link] = number
                if self._send(link, Order(None if link in told else common, shape, tasks[number])):
                    told.add(link)
            for link in cast("list[Link]", wait(list(at_work))):
                number, outcome = at_work.pop(link), received(link)
                if outcome is None:
                    todo.appendleft(number)
                    deaths[number] += 1
                    link = self._replace(link, deaths[number])
                else:
                    done[number] = outcome
                idle.append(link)
            while following in done:
                yield done.pop(following)
                following += 1

    def _send(self, link: Link, order: Order) -> bool:
        try:
            link.send(order)
        except (BrokenPipeError, ConnectionResetError):
            return False  # it is dead, which the link tells when it is read
        return True

    def _replace(self, link: Link, deaths: int) -> Link:
        """Another worker in the place of a dead one."""
        place = next(place for place, hand in enumerate(self._hands) if hand.link is link)
        process = self._hands[place].process
        link.close()
        process.kill()  # it has hung up, if it is not dead
        status = process.wait()
        if deaths >= _MOST_DEATHS:
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            problem = f"{deaths} worker processes ended over the same clients, the last one {how}"
            raise CrewError(f"{problem}; if memory ran short, lower --workers")
        self._hands[place] = self._hire()
        return self._hands[place].link

    def _hire(self) -> _Hand:
        ours, theirs = Pipe()
        inherited = (theirs.fileno(), self._context, self._deltas)
        with interrupts_held():
            process = subprocess.Popen(
                [sys.executable, "-m", "simulation.cohort.hand", *map(str, inherited)],
                stdin=subprocess.DEVNULL,
                env=one_blas_thread(),
                pass_fds=inherited,
                preexec_fn=die_with_parent(),
            )
        theirs.close()
        self._send(ours, cast("Order", self._packed))
        return _Hand(process, ours)


def received(link: Link) -> Outcome | None:
    """What a worker says; None: nothing more.

    Raises:
        CrewError: it says that it cannot do it.
    """
    try:
        found = link.recv()
    except (EOFError, OSError):  # the latter in the middle of an answer
        return None
    if isinstance(found, Failure):
        raise CrewError(f"a chunk of clients cannot be trained: {found.text}")
    return cast("Outcome", found)
