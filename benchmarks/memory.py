"""Memory of a process and all that it started, from /proc/PID/smaps_rollup (Linux)."""

import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

MIB = 1024.0
"""KiB, the kernel's unit, in a MiB."""


class Memory(NamedTuple):
    """In MiB, summed over processes."""

    resident: float
    """RSS: every page that is mapped, shared libraries counted in each process."""
    proportional: float
    """PSS: a page that n processes map counts 1/n in each."""


def tree(pid: int) -> list[int]:
    """The process and its descendants; those that end meanwhile are left out."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in _read(children).split()]
    return found


def of_tree(pid: int) -> Memory:
    """What the process and its descendants take now."""
    resident = proportional = 0
    for process in tree(pid):
        for line in _read(Path(f"/proc/{process}/smaps_rollup")).splitlines():
            name, _, rest = line.partition(":")
            if name == "Rss":
                resident += int(rest.split()[0])
            elif name == "Pss":
                proportional += int(rest.split()[0])
    return Memory(resident / MIB, proportional / MIB)


def _read(path: Path) -> str:
    """Empty when the process has ended."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


class Peak:
    """A context manager that samples a process tree and keeps the largest figures."""

    def __init__(self, pid: int, interval_s: float = 0.005) -> None:
        self.memory = Memory(0.0, 0.0)
        self._pid = pid
        self._interval_s = interval_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(self._interval_s):
            now = of_tree(self._pid)
            self.memory = Memory(*map(max, self.memory, now))
