"""Puts the simulation between the code and the system: fsync, full disks, the clock, randomness, the database."""

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import Pool

import edge_client.shell
from fedloom.trust import seal
from sim import engines
from sim.hpke import SeededSuite
from sim.party import Party, Stage
from sim.template import BEGAN_S

_WRITES = ("INSERT", "UPDATE", "DELETE", "PRAGMA wal_checkpoint")
_open, _fdopen = os.open, os.fdopen


@contextmanager
def simulated(stage: Stage) -> Iterator[None]:
    """Within this, the processes of `stage` run on virtual machines."""
    system = _System(stage)
    suites = {**seal._SUITES, seal.SealSuite.X25519: SeededSuite(stage.dice.bytes)}
    with (
        mock.patch.object(os, "fsync", system.fsync),
        mock.patch.object(os, "open", system.open),
        mock.patch.object(os, "fdopen", system.fdopen),
        mock.patch.object(os, "urandom", stage.dice.bytes),
        mock.patch.object(time, "time", system.time),
        mock.patch.object(seal, "_SUITES", suites),
        mock.patch.object(edge_client.shell, "draw", stage.dice.draw),
        _logging(stage),
        engines.sharing(),
        _listening(Pool, "connect", system.connected),
        _listening(sqlalchemy.Engine, "commit", system.commit),
        _listening(sqlalchemy.Engine, "before_cursor_execute", system.execute),
    ):
        yield


@contextmanager
def _listening(target: Any, name: str, do: Any) -> Iterator[None]:
    event.listen(target, name, do)
    try:
        yield
    finally:
        event.remove(target, name, do)


class _IntoStory(logging.Handler):
    """What processes log is part of the story."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def emit(self, record: logging.LogRecord) -> None:
        party = self._stage.active
        self._stage.story.tell(party.name if party else "log", str(record.msg), *(record.args or ()))


@contextmanager
def _logging(stage: Stage) -> Iterator[None]:
    handler = _IntoStory(stage)
    loggers = [logging.getLogger(name) for name in ("fedloom", "aggregator")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
            logger.removeHandler(handler)


class _System:
    """Each call is one of the active party, or of the simulation itself, which nothing befalls."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def _here(self, path: str) -> Party | None:
        party = self._stage.active
        return party if party is not None and path.startswith(str(party.root)) else None

    def _breaks(self, party: Party, what: str, code: int) -> None:
        if self._stage.dice.serious(self._stage.dice.rates.disk):
            self._stage.story.tell(party.name, "has a bad disk: %s: %s", what, os.strerror(code))
            raise OSError(code, os.strerror(code), what)

    def fsync(self, descriptor: int) -> None:
        path = _path_of(descriptor)
        party = self._here(path)
        if party is None:
            return
        name = path.removeprefix(f"{party.root}/")
        party.may_die(f"before the fsync of {name}")
        try:
            self._breaks(party, f"fsync of {name}", errno.EIO)
        except OSError:
            self._stage.disk.failed(descriptor)
            raise
        self._stage.disk.fsynced(descriptor)
        party.may_die(f"after the fsync of {name}")

    def open(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        party = self._here(os.fspath(path)) if flags & os.O_CREAT and isinstance(path, str | os.PathLike) else None
        if party is not None and not str(path).endswith("lock"):
            self._breaks(party, f"creation of {Path(path).name}", errno.ENOSPC)
        return _open(path, flags, *args, **kwargs)

    def fdopen(self, descriptor: int, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = _fdopen(descriptor, mode, *args, **kwargs)
        party = self._here(_path_of(descriptor)) if "w" in mode else None
        dice = self._stage.dice
        if party is not None and dice.serious(dice.rates.disk):
            self._stage.story.tell(party.name, "a write finds the disk full")
            return _Full(file, dice.draw())
        return file

    def time(self) -> float:
        party = self._stage.active
        return BEGAN_S + self._stage.agenda.now_s + getattr(party, "clock_off_s", 0.0)

    def connected(self, connection: sqlite3.Connection, _: object) -> None:
        self._stage.connections.append(connection)

    def commit(self, _: sqlalchemy.Connection) -> None:
        if (party := self._stage.active) is None:
            return
        party.may_die("before a commit")
        try:
            self._breaks(party, "commit", errno.EIO)
        except OSError as error:
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error")) from error

    def execute(self, _: object, __: object, statement: str, *___: object) -> None:
        party = self._stage.active
        if party is not None and statement.startswith(_WRITES):
            party.may_die(f"before {' '.join(statement.split()[:3])}")


def _path_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


class _Full:
    """A file that takes a part of the first write."""

    def __init__(self, file: BinaryIO, share: float) -> None:
        self._file = file
        self._share = share

    def __enter__(self) -> "_Full":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        self._file.write(data[: int(len(data) * self._share)])
        self._file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))
