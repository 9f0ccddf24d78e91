"""Runs that were done before, found by what they are made of: the job, its data, and the code that simulates.

A folder of files, each a History as JSON. What is in it can be removed at any time.
"""

import hashlib
import os
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import numpy as np

from fedloom.errors import InputError
from simulation.compare.plan import Run
from simulation.compare.sources import data_files
from simulation.history import History

MAX_BYTES = 1 << 30
"""Above it, what was not used for longest goes."""
ROOMS = ("fedloom", "strategies", "aggregator", "simulation")
"""A change of their code makes every run another one."""
_BESIDE_THE_POINT = Path("simulation", "compare")


class Cache:
    """Of runs; a folder that is made when the first is stored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, key: str) -> History | None:
        """The run that was stored under this key; None if none was, or what is there cannot be read."""
        path = self._path(key)
        try:
            history = History.from_json(path.read_bytes())
        except (FileNotFoundError, InputError):
            return None
        os.utime(path)
        return history

    def store(self, key: str, history: bytes) -> None:
        """Keep a run; whole, or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = self._folder / f"{key}.{os.getpid()}"
        beside.write_bytes(history)
        beside.replace(self._path(key))

    def prune(self, max_bytes: int = MAX_BYTES) -> None:
        """Remove what was not used for longest until no more than this is left."""
        found = sorted(((path.stat(), path) for path in self._folder.glob("*")), key=lambda each: each[0].st_mtime)
        size = sum(status.st_size for status, _ in found)
        for status, path in found:
            if size <= max_bytes:
                break
            path.unlink(missing_ok=True)
            size -= status.st_size

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def default_folder() -> Path:
    """Where runs are kept if nothing else is said (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedloom" / "runs"


def key_of(run: Run) -> str:
    """What a run is made of, as one hash: equal keys, equal runs.

    Raises:
        InputError: its data is missing.
    """
    own = [run.root_set] if run.root_set else []
    files = [(path.name, _digest(path, path.stat().st_mtime_ns)) for path in data_files(run.job, run.path) + own]
    with_what = {"numpy": np.__version__, "numba": _numba()}
    made_of = {"job": run.job, "data": files, "code": code_digest(), **with_what}
    return hashlib.sha256(msgspec.json.encode(made_of, order="deterministic")).hexdigest()


def _numba() -> str:
    """Its release, as long runs are computed with it; empty where it is not installed."""
    try:
        return version("numba")
    except PackageNotFoundError:
        return ""


@cache
def code_digest() -> str:
    """Of the rooms that have a part in a simulation."""
    root = Path(__file__).resolve().parents[2]
    files = sorted(path for room in ROOMS for path in (root / room).rglob("*.py"))
    return _hash(
        (path.relative_to(root), path) for path in files if _BESIDE_THE_POINT not in path.relative_to(root).parents
    )


@cache
def _digest(path: Path, _: int) -> str:
    """Of a file, read once for as long as its time of change stays the same."""
    return _hash([(Path(path.name), path)])


def _hash(files: Iterable[tuple[Path, Path]]) -> str:
    whole = hashlib.sha256()
    for name, path in files:
        with path.open("rb") as file:
            whole.update(f"{name}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()
