"""Starts processes, waits for what they do, and ends them with all that they started."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import memory

from simulation.children import die_with_parent

HOST = "127.0.0.1"
PATIENCE_S = 300.0
END_S = 10.0
POLL_S = 0.005
LOG_TAIL = 8
SHOWN = 3
"""Processes whose logs an error quotes."""


class Process(subprocess.Popen[bytes]):
    """A child process, and the file that has what it printed."""

    log: Path

    def last_words(self) -> str:
        """How it ended, and the end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:]
        state = "runs" if self.poll() is None else f"ended with status {self.returncode}"
        return "\n".join([f"{self.log.name} {state}:", *(f"    {line}" for line in lines)])


class Failed(Exception):
    """A process ended by itself, or something did not happen in time."""


def start(
    command: Sequence[str], log: Path, extra: Mapping[str, str] | None = None, stdout: int | None = None
) -> Process:
    """Start a process; all that it prints goes to `log`, or standard output to `stdout`."""
    with log.open("wb") as output:
        process = Process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output if stdout is None else stdout,
            stderr=output,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict(extra or {}),
            preexec_fn=die_with_parent(),
        )
    process.log = log
    return process


def poll(happened: Callable[[], bool], processes: Sequence[Process], what: str) -> None:
    """Return as soon as it has happened.

    Raises:
        Failed: it did not in time, or one of `processes` has ended.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while not happened():
        ended = [process for process in processes if process.poll() is not None]
        if ended and not happened():
            raise Failed(f"waited for {what}, but {ended[0].last_words()}")
        if time.monotonic() > deadline_s:
            said = "\n".join(process.last_words() for process in processes[:SHOWN])
            raise Failed(f"waited {PATIENCE_S:g} s for {what}\n{said}")
        time.sleep(POLL_S)


def await_words(log: Path, words: str, processes: Sequence[Process]) -> float:
    """When they were seen in the log, on the monotonic clock.

    Raises:
        Failed: see `poll`.
    """
    poll(lambda: words in log.read_text(encoding="utf-8", errors="replace"), processes, f"{words!r} in {log}")
    return time.monotonic()


def end(processes: Sequence[Process]) -> None:
    """End these and all that they started: SIGTERM, then SIGKILL for what is left."""
    handles = [handle for process in processes for handle in _handles(process.pid)]
    for process in processes:
        process.terminate()
    deadline_s = time.monotonic() + END_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline_s - time.monotonic()))
    for handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
    for process in processes:
        process.wait()
        if process.stdout:
            process.stdout.close()


def _handles(pid: int) -> Iterator[int]:
    """File descriptors of a process and its descendants, which may sit in sessions of their own."""
    for process in memory.tree(pid):
        with contextlib.suppress(ProcessLookupError):
            yield os.pidfd_open(process)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
