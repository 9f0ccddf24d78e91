"""Our side: a broker, an aggregator and device daemons as their own commands start them."""

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from processes import Process, await_words, end, poll, start
from side import Device
from work import Work

from aggregator.enrolment.provision import new_device
from aggregator.keys import SuiteName
from aggregator.keys import init as init_federation
from fedloom.trust.tokens import Broker as Address
from fedloom.trust.tokens import TlsMode
from simulation.broker import Broker, start_broker

_TASK = "work.begun"


class Deployment:
    """A broker, an aggregator and as many daemons as asked for; a context manager that ends them all."""

    def __init__(
        self,
        directory: Path,
        python: Path | str,
        sources: Sequence[Path],
        log_level: str = "info",
        suite: SuiteName = "hybrid",
    ) -> None:
        """`python` runs the devices, each with its file of `sources`; `directory` takes all state and logs."""
        self._directory = directory
        self._python = python
        self._sources = sources
        self._log_level = log_level
        self._suite: SuiteName = suite
        self._config = directory / "aggregator.toml"
        self._processes: list[Process] = []
        self._notices: dict[str, list[tuple[float, dict[str, Any]]]] = defaultdict(list)
        self._broker: Broker | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True)
        state = self._directory / "aggregator"
        try:
            broker = self._broker = start_broker(self._directory)
            init_federation(state, self._suite)
            for number, source in enumerate(self._sources):
                name, address = f"device-{number}", Address(broker.host, broker.port, TlsMode.NONE)
                new_device(state, name, self._directory / name, broker=address, data=str(source))
            link = f'[broker]\nhost = "{broker.host}"\nport = {broker.port}\n'
            self._config.write_text(f'job = "job.toml"\nstate = "aggregator"\n{link}', encoding="utf-8")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._close()

    @property
    def address(self) -> tuple[str, int]:
        """Of the broker, while there is one."""
        assert self._broker
        return self._broker.host, self._broker.port

    def start_run(self, work: Work) -> None:
        """Start the aggregator; the job begins as soon as there are enough devices."""
        (self._directory / "job.toml").write_text(work.as_job(), encoding="utf-8")
        config = str(self._config)
        command = [sys.executable, "-m", "fedloom.command", "aggregator", "run", "--config", config, "--json"]
        process = start(command, self._directory / "aggregator.log", stdout=subprocess.PIPE)
        self._processes.append(process)
        if process.stdout:
            threading.Thread(target=self._listen, args=(process.stdout,), daemon=True).start()
        self.await_notices("aggregator")

    def start_device(self, number: int) -> Device:
        """Start the daemon that has the given number."""
        config = self._directory / f"device-{number}" / "edge.toml"
        started_s = time.monotonic()
        options = ["--config", str(config), "--log-level", self._log_level]
        command = [str(self._python), "-m", "edge_client", "run", *options]
        process = start(command, self._directory / f"device-{number}.log")
        self._processes.append(process)
        return Device(process, started_s)

    def await_connected(self) -> float:
        """When the aggregator knew the first device to be ready, on the monotonic clock."""
        return self.await_notices("ready", at_least={"devices": 1})[0]

    def await_task(self) -> float:
        """When the first device said that it begins its first task."""
        return await_words(self._directory / "device-0.log", _TASK, self._processes)

    def await_rounds(self, count: int) -> list[float]:
        """When so many training rounds were opened."""
        return self.await_notices("round_opened", count, at_least={"round": 1})

    def await_done(self) -> float:
        """When the job was over."""
        return self.await_notices("done")[0]

    def await_notices(self, event: str, count: int = 1, at_least: dict[str, int] | None = None) -> list[float]:
        """When these were heard.

        Raises:
            Failed: too few of them in time.
        """
        wanted = (at_least or {}).items()

        def found() -> list[float]:
            return [
                at_s
                for at_s, notice in list(self._notices[event])
                if all(notice[key] >= least for key, least in wanted)
            ]

        poll(lambda: len(found()) >= count, self._processes, f"{count} × {event}")
        return found()

    def _listen(self, stream: IO[bytes]) -> None:
        for line in stream:
            at_s, notice = time.monotonic(), json.loads(line)
            self._notices[notice["event"]].append((at_s, notice))

    def _close(self) -> None:
        end(self._processes)
        if self._broker:
            self._broker.stop()
