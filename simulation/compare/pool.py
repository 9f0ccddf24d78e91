"""Runs in processes of their own: each on one core, and none ends another, however it fails."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.connection import Connection
from typing import NamedTuple

from fedloom.errors import FedloomError
from simulation.children import interrupts_held, one_blas_thread
from simulation.compare.plan import Run

Work = Callable[[Run], bytes]
"""Simulates it and gives its History as JSON; importable by name, so that another process can call it."""
_SPAWN = get_context("spawn")  # a fork would share the parent's BLAS, which has its threads already


class Reply(NamedTuple):
    """What came of a run."""

    history: bytes
    """As JSON; empty if there was a problem."""
    problem: str
    seconds: float


def run_all(runs: Sequence[Run], work: Work, workers: int) -> Generator[tuple[int, Reply]]:
    """Do them all, `workers` at a time; gives each one's place and outcome when it is done.

    Whoever stops asking ends the processes.
    """
    waiting = deque(enumerate(runs))
    members: list[_Member] = []
    try:
        for _ in range(min(workers, len(runs))):
            members.append(_Member(work))
            members[-1].take(*waiting.popleft())
        while busy := {member.connection: member for member in members if member.place is not None}:
            for ready in connection.wait(list(busy)):
                member = busy[ready]  # type: ignore[index]  # of those that were given, and nothing else
                yield member.place or 0, member.reply()
                if waiting:
                    member.take(*waiting.popleft())
    finally:
        for member in members:
            member.stop()


class _Member:
    """A process, and what it is doing."""

    def __init__(self, work: Work) -> None:
        self.place: int | None = None
        """Of the run that it is at."""
        self._work = work
        self._start()

    def _start(self) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, self._work), daemon=True)
        resource_tracker.ensure_running()  # or the first process begins with it, which lets interrupts through again
        with _one_blas_thread(), interrupts_held():
            self._process.start()
        theirs.close()

    def take(self, place: int, run: Run) -> None:
        """Begin a run."""
        self.place = place
        self.connection.send(run)

    def reply(self) -> Reply:
        """What came of it; a process that died with it is replaced."""
        self.place = None
        try:
            reply: Reply = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            status = self._process.exitcode
            self._start()
            return Reply(b"", f"its process ended with status {status}; is there enough memory? lower --workers", 0.0)
        return reply

    def stop(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(theirs: Connection, work: Work) -> None:
    while True:
        try:
            run = theirs.recv()
        except EOFError:
            return
        theirs.send(_reply(work, run))


def _reply(work: Work, run: Run) -> Reply:
    started = time.monotonic()
    try:
        history, problem = work(run), ""
    except FedloomError as error:
        history, problem = b"", str(error)
    except Exception as error:  # noqa: BLE001 - a task's root: whatever it is, it is this run's alone
        history, problem = b"", f"{type(error).__name__}: {error}"
    return Reply(history, problem, time.monotonic() - started)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """What is started meanwhile has one."""
    before = dict(os.environ)
    os.environ.update(one_blas_thread())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
