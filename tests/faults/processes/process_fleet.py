"""A small federation of real processes whose members are killed, and started again as a service manager would.

Processes are forked from a server that has imported fedloom already: an import takes longer than a whole job here. Each
is a process of its own all the same, with its own descriptors, memory and death. Those that need another environment
before Python starts (faketime, a library that fails fsync) are started as commands, by `command=`.
"""

import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import msgspec
import pytest

from aggregator.notices import AnyNotice, UpdateSeen
from fedloom import failpoints
from fedloom.learning.model_file import load
from simulation.broker import Broker
from simulation.children import die_with_parent

PATIENCE_S = 40.0
"""For a whole job, on a machine that does much else."""
POLL_S = 0.01
MAX_DEATHS = 6
"""In one test: beyond, something else is wrong."""
DEVICES = ("device-1", "device-2", "device-3")
AGGREGATOR = "aggregator"


@cache
def _forking() -> ForkServerContext:
    """The server, which runs from here on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded"])
    paths = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(paths)):
        forkserver.ensure_running()  # before Python 3.12 it is not told our sys.path
    return context


class Death(NamedTuple):
    """How a process ended before the job did."""

    name: str
    status: int
    """Minus the signal's number, as subprocess has it."""


class Model(NamedTuple):
    """A row of the aggregator's models."""

    version: int
    hash: str
    devices: int


def _main(arguments: Sequence[str], environment: Mapping[str, str], log: Path, out: Path, file_bytes: int) -> None:
    """In the child: what the shell does between fork and exec, and then the command."""
    for path, descriptor in ((out, 1), (log, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.update(environment)
    if file_bytes:
        writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=2)  # the limit is not meant for the log
        assert writer.stdin is not None
        os.dup2(writer.stdin.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    if arguments[0] == "fedloom-edge":
        from edge_client.cli import main
    else:
        from fedloom.command import main
    sys.exit(main(list(arguments[1:])))


class Child:
    """A process; `status` is None while it lives."""

    def __init__(self, name: str, process: "BaseProcess | subprocess.Popen[bytes]") -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll()
        return self._process.exitcode

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send the signal, and wait until it is dead."""
        if self.status is None:
            os.kill(self.pid, how)
        self.wait()

    def wait(self) -> None:
        """Wait until it has ended."""
        if isinstance(self._process, subprocess.Popen):
            self._process.wait(PATIENCE_S)
        else:
            self._process.join(PATIENCE_S)


def needs_patience(broker: Broker) -> None:
    """Skip a test in which a device dies and is expected to be back in the same round, where the broker has none."""
    if broker.kind == "amqtt":
        pytest.skip("amqtt: no will delay in MQTT 3.1.1, and what a client that died has not acknowledged is forgotten")


class Fleet:
    """An aggregator and its devices below `directory`, which `provision` has made."""

    def __init__(self, directory: Path, broker: Broker) -> None:
        self.directory = directory
        self.broker = broker
        self.members: dict[str, Child] = {}
        self.deaths: list[Death] = []
        self._fail: dict[str, list[str]] = {}
        """What is still to be done to the next processes of each member."""
        self._others: list[Child] = []

    def state(self, name: str) -> Path:
        """A member's state directory."""
        return self.directory / name / "state"

    def log(self, name: str) -> str:
        """What a member, and each process that had its name before, has logged."""
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(
        self, fail: Mapping[str, Sequence[str]] | None = None, names: Sequence[str] = (AGGREGATOR, *DEVICES)
    ) -> None:
        """Start members; `fail` says at which failpoints the first, second … process of a member fails."""
        self._fail = {name: list(texts) for name, texts in (fail or {}).items()}
        for name in names:
            self._start_next(name)

    def _start_next(self, name: str) -> None:
        texts = self._fail.get(name)
        self.start_one(name, fail=texts.pop(0) if texts else "")

    def start_one(
        self,
        name: str,
        *,
        directory: str = "",
        fail: str = "",
        file_bytes: int = 0,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a member as another process; `directory` is another one's than its own, where it is a copy.

        `command` is put before a command line of its own (a wrapper such as faketime); without it, it is forked.
        """
        where = self.directory / (directory or name)
        is_aggregator = name.startswith(AGGREGATOR)
        config = str(where / ("aggregator.toml" if is_aggregator else "edge.toml"))
        arguments = ["fedloom", "aggregator", "run", "--json"] if is_aggregator else ["fedloom-edge", "run"]
        arguments += ["--exit-when-done", "--config", config]
        child = self.run(name, arguments, fail, file_bytes, command, environment)
        self.members[name] = child
        return child

    def run(
        self,
        name: str,
        arguments: Sequence[str],
        fail: str = "",
        file_bytes: int = 0,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start any of the two commands; its words go to NAME.log and NAME.out."""
        log, out = self.directory / f"{name}.log", self.directory / f"{name}.out"
        added = {failpoints.VARIABLE: fail, "OPENBLAS_NUM_THREADS": "1", **(environment or {})}
        if command:
            module = {"fedloom": "fedloom.command", "fedloom-edge": "edge_client"}[arguments[0]]
            child = Child(name, _spawn([*command, sys.executable, "-m", module, *arguments[1:]], added, log, out))
        else:
            process = _forking().Process(target=_main, args=(arguments, added, log, out, file_bytes), daemon=True)
            process.start()
            child = Child(name, process)
        self._others.append(child)
        return child

    def finish(self, patience_s: float = PATIENCE_S, restart: bool = True) -> None:
        """Until all have ended well, whoever dies being started again; and what must hold of every job holds."""
        self.until(self._are_done, patience_s, restart)
        self._check()

    def until(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S, restart: bool = False) -> None:
        """Wait for it, and fail the test with everybody's last words if it does not come."""
        deadline_s = time.monotonic() + patience_s
        while not condition():
            for name, child in list(self.members.items()):
                if child.status:
                    self.deaths.append(Death(name, child.status))
                    del self.members[name]
                    if restart:
                        self._start_next(name)
            assert time.monotonic() < deadline_s, self.last_words()
            assert len(self.deaths) <= MAX_DEATHS, self.last_words()
            time.sleep(POLL_S)

    def _check(self) -> None:
        """I1 and I5, as far as the database and what the operator was told show them."""
        assert {status for (status,) in self.rows("select distinct status from rounds")} <= {"done", "aborted"}
        counted = """
            select r.manifest_version, m.devices, count(u.device), count(distinct u.device) from models m
            join rounds r on r.round = m.round and r.status = 'done' and r.phase = 'train'
            join updates u on u.counted_in = r.manifest_version and u.verdict = 'accepted'
            group by r.manifest_version"""
        for version, fused, accepted, devices in self.rows(counted):
            assert fused == accepted == devices, f"manifest {version}: {fused} fused of {accepted} by {devices}"
        seen = [(each.round, each.attempt, each.device) for each in self.notices() if isinstance(each, UpdateSeen)]
        assert len(set(seen)) == len(seen), f"an answer was stored twice: {seen}"

    def _are_done(self) -> bool:
        return all(child.status == 0 for child in self.members.values())

    def last_words(self) -> str:
        """For a test that fails."""
        logs = [f"--- {name}: {self.log(name)[-1500:]}" for name in dict.fromkeys((AGGREGATOR, *self.members))]
        return "\n".join([f"deaths: {self.deaths}", *logs, f"--- told: {self.notices()[-12:]}"])

    def stop(self) -> None:
        """SIGKILL to all that still live."""
        for child in self._others:
            child.end()

    def notices(self, name: str = AGGREGATOR) -> list[AnyNotice]:
        """All that the operator was told; a process that was killed may have left half a line."""
        path = self.directory / f"{name}.out"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [msgspec.json.decode(line, type=AnyNotice) for line in lines]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """From the aggregator's database; to be asked when the aggregator has ended."""
        path = self.state(AGGREGATOR) / "aggregator.db"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def models(self) -> list[Model]:
        """All versions, oldest first."""
        rows = self.rows("select version, lower(hex(hash)), devices from models order by version")
        return [Model(int(str(version)), str(digest), int(str(devices))) for version, digest, devices in rows]

    def own_models(self) -> list[bytes]:
        """Of each device, the weights of its personal model."""
        return [load(self.state(name) / "personal.fedloom").weights.tobytes() for name in DEVICES]

    def copy_state(self, name: str, to: str) -> None:
        """Copy a member's directory, as somebody does who restores a backup by hand."""
        shutil.rmtree(self.directory / to, ignore_errors=True)
        shutil.copytree(self.directory / name, self.directory / to)


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has reached the process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _spawn(command: Sequence[str], added: Mapping[str, str], log: Path, out: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as errors, out.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={**os.environ, **added, "PYTHONUNBUFFERED": "1"},
            preexec_fn=die_with_parent(),
        )
