"""The numbers that order a device's messages: reserved on disk in blocks, so that a crash never repeats one."""

import threading

BLOCK = 1000


class Sequence:
    """Hands numbers out; safe from any thread, because the link signs its will in its own."""

    def __init__(self, start: int) -> None:
        """`start` is the high-water mark on disk: nothing can be taken before `reserve`."""
        self._next = start
        self._end = start
        self._lock = threading.Lock()

    def take(self, count: int = 1) -> int:
        """The first of `count` consecutive numbers.

        Where nobody has reserved more in time the last ones come again: receivers take that for a repetition.
        """
        with self._lock:
            if self._next + count > self._end:
                return max(0, self._end - count)
            first = self._next
            self._next += count
            return first

    def reserve(self) -> int | None:
        """The new high-water mark, to be put on disk at once, or None while there are plenty left."""
        with self._lock:
            if self._end - self._next > BLOCK // 2:
                return None
            self._end = self._next + BLOCK
            return self._end
