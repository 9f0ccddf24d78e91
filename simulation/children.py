"""Child processes that never outlive us."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fedloom.errors import InputError

ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Environment of a worker process, from before it imports numpy: more threads only fight for the cores."""
_MOST_A_CORE = 16
"""Processes: more would only take memory, tens of megabytes each."""
_PR_SET_PDEATHSIG = 1


def check_workers(workers: int, where: str) -> None:
    """Refuse far more processes than this machine has cores; `where` is the command that is to start them.

    Raises:
        InputError: says how many it has.
    """
    cores = len(os.sched_getaffinity(0))
    if workers > _MOST_A_CORE * cores:
        problem = f"{workers:,} processes are too many for a machine of {cores} cores"
        raise InputError(where, "--workers", problem, f"set it to {cores}, or leave it out")


def one_blas_thread() -> dict[str, str]:
    """Our environment, with one BLAS thread a process."""
    return os.environ | ONE_BLAS_THREAD


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the end. A process that is started meanwhile never hears it: who started it ends it.

    Else an interrupt gets lost that comes between fork and exec, and a child that is still importing shows where.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_with_parent() -> Callable[[], None]:
    """A `preexec_fn`: the kernel kills the child when the thread that started it ends (Linux; elsewhere nothing).

    So start children from a thread that lives as long as they shall, normally the main thread.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork: little is safe after it
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # the parent died between fork and prctl

    return ask
