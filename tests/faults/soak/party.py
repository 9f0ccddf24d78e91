"""A process and its service manager: whoever ends is started again, whoever hangs goes on after a while."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from simulation.children import die_with_parent

RESTART_S = 1.0
"""From the end of a process to its next start."""
STOP_TIMEOUT_S = 20.0


class Party:
    """The broker, the aggregator or a device; times are on the monotonic clock."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        keeps_output: bool = False,
        before_start: Callable[[], None] = lambda: None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """`keeps_output`: standard output goes to {name}.jsonl; standard error goes to {name}.log, always."""
        self.name = name
        self.log = directory / f"{name}.log"
        self.out = directory / f"{name}.jsonl"
        self.starts = 0
        self.unexpected: list[str] = []
        """Why it has ended where nobody had ended it."""
        self.started_s = 0.0
        self._command = list(command)
        self._keeps_output = keeps_output
        self._before_start = before_start
        self._environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | (environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ended_by_us = False
        self._restart_s: float | None = None
        self._continue_s: float | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def is_hanging(self) -> bool:
        return self._continue_s is not None

    def start(self, now_s: float) -> None:
        """Start it (again)."""
        self._before_start()
        self.starts += 1
        self.started_s, self._restart_s, self._continue_s = now_s, None, None
        self._is_ended_by_us = False
        output = self.out if self._keeps_output else Path(os.devnull)
        with self.log.open("ab") as log, output.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=self._environment,
                preexec_fn=die_with_parent(),
            )

    def end(self, how: signal.Signals) -> None:
        """SIGKILL or SIGTERM; `supervise` starts it again."""
        if self.pid is not None and self._process is not None:
            self._is_ended_by_us = True
            self._process.send_signal(how)
            self.go_on()

    def hang(self, until_s: float) -> None:
        """Stop it in the middle of whatever it does; to the others it looks like a half-open connection."""
        if self.pid is not None and self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            self._continue_s = until_s

    def go_on(self) -> None:
        """End of the hanging."""
        if self._continue_s is not None and self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
        self._continue_s = None

    def supervise(self, now_s: float) -> None:
        """What a service manager does, at least once a second."""
        if self._continue_s is not None and now_s >= self._continue_s:
            self.go_on()
        if self._process is None or self._process.poll() is None:
            return
        if self._restart_s is None:
            self._restart_s = now_s + RESTART_S
            if not self._is_ended_by_us:
                self.unexpected.append(f"status {self._process.returncode}: {self.last_words()}")
        if now_s >= self._restart_s:
            self.start(now_s)

    def stop(self) -> int | None:
        """End it for good, by SIGTERM and where that does not help by SIGKILL; returns the exit status."""
        self.go_on()
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_words(self) -> str:
        """The end of its log, on one line."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"
