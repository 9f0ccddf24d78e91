"""The peer: flwr's deployment engine as its own commands start it, with the app in flwr_app/."""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from environments import HERE
from processes import HOST, PATIENCE_S, Failed, Process, await_words, end, free_port, poll, start
from side import Device
from work import Work

APP = HERE / "flwr_app"
_LISTENS = "Uvicorn running"
_CONNECTED = "SuperNode ID:"


class Deployment:
    """A SuperLink and as many SuperNodes as asked for; a context manager that ends them all."""

    def __init__(self, directory: Path, python: Path, sources: Sequence[Path]) -> None:
        """`python` has flwr; each SuperNode has its file of `sources`; `directory` takes all state and logs."""
        self._directory = directory
        self._bin = python.parent
        self._sources = sources
        self._events = directory / "events.jsonl"
        self._port = free_port()
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        (self._directory / "home").mkdir(parents=True)
        link = f'[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "{HOST}:{self._port}"\ninsecure = true\n'
        (self._directory / "home" / "config.toml").write_text(link, encoding="utf-8")
        self._events.touch()
        options = ["--host", HOST, "--port", str(self._port), "--disable-runtime-dependency-installation"]
        try:
            self._start("superlink", ["flower-superlink", "--insecure", *options])
            await_words(self._directory / "superlink.log", _LISTENS, self._processes)
        except BaseException:
            end(self._processes)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        end(self._processes)

    def start_run(self, work: Work) -> None:
        """Submit the app; its rounds begin as soon as there are enough SuperNodes."""
        config = work.as_run_config() | {"events": str(self._events)}
        text = " ".join(f"{key}={json.dumps(value)}" for key, value in config.items())
        command = [str(self._bin / "flwr"), "run", str(APP), "bench", "--run-config", text]
        environment = os.environ | self._environment()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if done.returncode:
            raise Failed(f"flwr run: {done.stdout}{done.stderr}")
        self._await_events("serverapp")

    def start_device(self, number: int) -> Device:
        """Start a SuperNode."""
        config = f'name="device-{number}" data="{self._sources[number]}"'
        options = ["--superlink", f"{HOST}:{self._port}", "--host", HOST, "--port", str(free_port())]
        started_s = time.monotonic()
        command = ["flower-supernode", "--insecure", *options, "--node-config", config]
        return Device(self._start(f"device-{number}", command), started_s)

    def await_connected(self) -> float:
        """When the first SuperNode said that it has its identity from the SuperLink, on the monotonic clock."""
        return await_words(self._directory / "device-0.log", _CONNECTED, self._processes)

    def await_task(self) -> float:
        """When the train function was first entered."""
        return self._await_events("task")[0]

    def await_rounds(self, count: int) -> list[float]:
        """When so many rounds were configured."""
        return self._await_events("round", count)

    def await_done(self) -> float:
        """When the strategy returned."""
        return self._await_events("done")[0]

    def _await_events(self, event: str, count: int = 1) -> list[float]:
        def found() -> list[float]:
            entries = map(json.loads, self._events.read_text(encoding="utf-8").splitlines())
            return [entry["at_s"] for entry in entries if entry["event"] == event]

        poll(lambda: len(found()) >= count, self._processes, f"{count} × {event}")
        return found()

    def _start(self, name: str, command: list[str]) -> Process:
        program = str(self._bin / command[0])
        process = start([program, *command[1:]], self._directory / f"{name}.log", self._environment())
        self._processes.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        """flwr finds its other commands on PATH; it is kept from calling home."""
        path = f"{self._bin}{os.pathsep}{os.environ.get('PATH', '')}"
        home = str(self._directory / "home")
        return {"PATH": path, "FLWR_HOME": home, "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
