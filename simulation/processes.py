"""A whole federation on this machine, each part a process of its own: a broker, an aggregator, a daemon a data file.

Nothing is simulated but the distance: keys, sealing, MQTT, the durable outbox and store are those of a real fleet.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

import msgspec

from aggregator.enrolment.provision import new_device
from aggregator.keys import SuiteName
from aggregator.keys import init as init_federation
from aggregator.notices import AnyNotice, Done
from fedloom.errors import FedloomError
from fedloom.trust.tokens import Broker, TlsMode
from simulation.broker import Broker as BrokerProcess
from simulation.broker import BrokerKind, start_broker
from simulation.children import die_with_parent, interrupts_held, one_blas_thread

POLL_S = 0.25
STOP_TIMEOUT_S = 10.0
_LOG_TAIL = 3


class FleetError(FedloomError):
    """A part of the local fleet ended by itself, or nothing happened for too long."""


class Child(NamedTuple):
    """A process of the fleet."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        """The end of its log, on one line."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " | ".join(lines[-_LOG_TAIL:]) or "it said nothing"


class LocalFleet:
    """Starts and ends all processes; a context manager. Everything they write is under `directory`."""

    def __init__(
        self,
        directory: Path,
        job: Path,
        sources: Sequence[Path],
        broker: BrokerKind = "auto",
        suite: SuiteName = "hybrid",
        root_set: Path | None = None,
    ) -> None:
        """`sources`: a data file for each device; `root_set`: one for the aggregator. `directory` must not hold a fleet
        yet.
        """
        self.directory = directory
        self.job = job.resolve()
        self.sources = [source.resolve() for source in sources]
        self.broker: BrokerProcess | None = None
        self.aggregator: Child | None = None
        self.devices: list[Child] = []
        self._broker_kind = broker
        self._suite = suite
        self._root_set = root_set and root_set.resolve()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop(gently=False)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop(gently=error is None)

    def _start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.broker = start_broker(self.directory, self._broker_kind)
        state = self.directory / "aggregator"
        init_federation(state, self._suite)
        configs = [self._provision(state, number, source) for number, source in enumerate(self.sources, 1)]
        self.aggregator = self._start_aggregator(state)
        self.devices = [self._start_device(config) for config in configs]

    def _provision(self, state: Path, number: int, source: Path) -> Path:
        name = f"device-{number:02}"
        directory, known_id = self.directory / name, number.to_bytes(16, "big")  # so that a run can be repeated
        broker = Broker(*self.address(), TlsMode.NONE)
        with interrupts_held():  # one in the middle of a function that SQLite calls would be its error
            new_device(state, name, directory, broker=broker, data=str(source), device_id=known_id)
        return directory / "edge.toml"

    def address(self) -> tuple[str, int]:
        """Host and port at which aggregator and devices reach the broker."""
        if self.broker is None:
            raise FleetError("the fleet has no broker yet")
        return self.broker.host, self.broker.port

    def _start_aggregator(self, state: Path) -> Child:
        host, port = self.address()
        config = self.directory / "aggregator.toml"
        lines = [f"job = {json.dumps(str(self.job))}", f"state = {json.dumps(state.name)}", "[broker]"]
        lines += [f'host = "{host}"', f"port = {port}"]
        if self._root_set:
            lines += ["[root_set]", f"path = {json.dumps(str(self._root_set))}"]
        config.write_text("\n".join([*lines, ""]), encoding="utf-8")
        command = ["-m", "fedloom.command", "aggregator", "run", "--config", str(config), "--json", "--exit-when-done"]
        return self._spawn("aggregator", command, subprocess.PIPE)

    def _start_device(self, config: Path) -> Child:
        name = config.parent.name
        return self._spawn(name, ["-m", "edge_client", "run", "--config", str(config), "--exit-when-done"])

    def _spawn(self, name: str, command: Sequence[str], stdout: int = subprocess.DEVNULL) -> Child:
        log = self.directory / f"{name}.log"
        with log.open("ab") as errors, interrupts_held():
            process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=errors,
                env=one_blas_thread() | {"PYTHONUNBUFFERED": "1"},
                preexec_fn=die_with_parent(),
            )
        return Child(name, process, log)

    def restart_device(self, index: int, how: signal.Signals) -> None:
        """End a daemon by a signal and start it again, as a service manager would."""
        child = self.devices[index]
        child.process.send_signal(how)
        child.process.wait(STOP_TIMEOUT_S)
        self.devices[index] = self._start_device(self.directory / child.name / "edge.toml")

    def notices(self, patience_s: float = 120.0) -> Iterator[AnyNotice]:
        """What the aggregator says, until the job is done.

        Raises:
            FleetError: a process ended too early, or there was no notice for `patience_s` seconds.
        """
        if self.aggregator is None or self.aggregator.process.stdout is None:
            raise FleetError("the fleet is not running")
        for line in self._lines(self.aggregator.process.stdout, patience_s):
            notice = msgspec.json.decode(line, type=AnyNotice)
            yield notice
            if isinstance(notice, Done):
                return
        raise self._obituary(self.aggregator)

    def _lines(self, stream: IO[bytes], patience_s: float) -> Iterator[bytes]:
        """Whole lines of the stream, while every process lives and says something in time."""
        pending, heard = b"", time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                if not selector.select(POLL_S):
                    self._check_alive(time.monotonic() - heard, patience_s)
                    continue
                chunk = os.read(stream.fileno(), 65536)
                if not chunk:
                    return
                heard = time.monotonic()
                *lines, pending = (pending + chunk).split(b"\n")
                yield from lines

    def _check_alive(self, silent_s: float, patience_s: float) -> None:
        for child in self.devices:
            if child.process.poll() is not None:
                raise self._obituary(child)
        if silent_s > patience_s:
            raise FleetError(f"nothing happened for {patience_s:.0f} s; look at the logs in {self.directory}")

    def _obituary(self, child: Child) -> FleetError:
        status = child.process.wait(STOP_TIMEOUT_S)
        return FleetError(f"{child.name} ended with status {status}: {child.last_words()}")

    def wait(self) -> None:
        """Wait until all have ended by themselves, as they do when the job is done and each has the final model.

        Raises:
            FleetError: one of them did not, or failed.
        """
        for child in [*self.devices, *([self.aggregator] if self.aggregator else [])]:
            try:
                status = child.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise FleetError(f"{child.name} does not end; look at {child.log}") from None
            if status:
                raise self._obituary(child)

    def stop(self, *, gently: bool = True) -> None:
        """End every process: SIGTERM, then SIGKILL for what does not listen; or SIGKILL at once."""
        children = [*self.devices, *([self.aggregator] if self.aggregator else [])]
        for child in children:
            child.process.send_signal(signal.SIGTERM if gently else signal.SIGKILL)
        for child in children:
            try:
                child.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            if child.process.stdout:
                child.process.stdout.close()
        if self.broker:
            self.broker.stop()
