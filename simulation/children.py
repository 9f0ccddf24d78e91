"""Child processes that never outlive us."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Environment of a worker process, from before it imports numpy: more threads only fight for the cores."""
_PR_SET_PDEATHSIG = 1


def one_blas_thread() -> dict[str, str]:
    """Our environment, with one BLAS thread a process."""
    return os.environ | ONE_BLAS_THREAD


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
