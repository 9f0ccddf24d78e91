"""Whether the worker thread gets on: it finishes its work, or it computes. One that waits for a disk does neither.

So a long fusion is well, and a write that never returns shows, however lively the loop beside it is.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 60.0
"""Without progress, where no service manager says how long it waits."""
Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Pulse:
    """Of one thread."""

    def __init__(self, patience_s: float) -> None:
        """`patience_s`: how long the thread may make no progress; 0 is `PATIENCE_S`."""
        self._patience_s = patience_s or PATIENCE_S
        self._thread_clock: int | None = None
        """None while there is nothing to do."""
        self._seen_ns: int | None = None
        self._since_s = 0.0
        self._is_told = False

    def watched(self, work: Callable[[], Result]) -> Result:
        """Do it, in the thread that is watched."""
        self._thread_clock = time.pthread_getcpuclockid(threading.get_ident())
        try:
            return work()
        finally:
            self._thread_clock = None

    def beats(self, now_s: float) -> bool:
        """Whether there was progress lately; to be asked again and again, `now_s` on a monotonic clock."""
        clock = self._thread_clock
        seen_ns = None if clock is None else time.clock_gettime_ns(clock)
        if seen_ns is None or seen_ns != self._seen_ns:
            self._seen_ns, self._since_s, self._is_told = seen_ns, now_s, False
            return True
        still_s = now_s - self._since_s
        if still_s <= self._patience_s:
            return True
        if not self._is_told:
            self._is_told = True
            log.error("archive.stalled seconds=%.0f: the disk does not answer; see the kernel's log", still_s)
        return False
