"""Makes a backup beside a running aggregator.

The database is copied first, as it is at one moment; then the files that it names. Files only grow or are replaced by
the same model with more notes, except that retention removes old ones: where it has removed one in between that the
copy names, all is done again. `backup.json` comes last.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from aggregator import keys
from aggregator import tables as t
from aggregator.backup.inventory import DIRECTORIES, FILE, FORMAT, Entry, Inventory, Tell
from aggregator.backup.last import LastBackup, remember
from aggregator.copying import copy_database, copy_file, digest_of, full_disk_told
from aggregator.database import faults, frozen
from aggregator.exchange.journal_files import DIRECTORY, REQUEST, TOLD, path_of
from aggregator.spool import segment_name
from aggregator.store import DATABASE
from fedloom.errors import StoreError
from fedloom.files import locked, make_private_directory, sync_directory, try_lock, write_durably
from fedloom.wire.messages import Phase

MAX_ATTEMPTS = 10


class _Snapshot(NamedTuple):
    """What the copy of the database says."""

    manifest_version: int
    named: frozenset[str]
    """Models, segments of the spool, what an app was told; retention may have removed old ones long ago."""


class _GoneError(Exception):
    """Retention has removed a file in between."""


def take(state: Path, directory: Path, tell: Tell) -> Inventory:
    """Back up `state` into `directory`, which is made for it.

    Raises:
        StoreError: the directory is not empty, the state is damaged, or nothing can be written.
        TrustError: there is no federation in `state`, or others may read it or the backup.
    """
    keys.require_federation(state)
    if directory.absolute().resolve().is_relative_to(state.absolute().resolve()):
        raise StoreError(f"{directory}: is in the state directory, and would be lost with it; name another place")
    with full_disk_told(directory):
        make_private_directory(directory)
        lock = try_lock(directory)
    if lock is None:
        raise StoreError(f"{directory}: another backup is being made here; name another directory")
    try:
        with full_disk_told(directory):
            return _take(state, directory, tell)
    finally:
        os.close(lock)


def _take(state: Path, directory: Path, tell: Tell) -> Inventory:
    federation = keys.load(state).root.federation.hex()
    if any(directory.iterdir()):
        raise StoreError(f"{directory}: is not empty; name a directory that is not there yet")
    files: dict[str, Entry] = {}
    try:
        snapshot = _copy_state(state, directory, files, tell)
        with locked(state / "keys"):
            _copy(state, directory, sorted(_listed(state, "keys")), files, tell)
    except sqlite3.Error as error:
        raise StoreError(
            f"{directory}: the database cannot be copied ({error}); check the disk, and try again"
        ) from None
    for folder in sorted({(directory / name).parent for name in files} | {directory / each for each in DIRECTORIES}):
        make_private_directory(folder)
        sync_directory(folder)
    made_at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    inventory = Inventory(FORMAT, federation, made_at, snapshot.manifest_version, files)
    write_durably(directory / FILE, msgspec.json.format(msgspec.json.encode(inventory)))
    remember(state, LastBackup(str(directory.absolute()), made_at))
    return inventory


def _copy_state(state: Path, directory: Path, files: dict[str, Entry], tell: Tell) -> _Snapshot:
    for _ in range(MAX_ATTEMPTS):
        before = _kept(state)
        copy_database(state / DATABASE, directory / DATABASE)
        snapshot = _examined(directory / DATABASE)
        wanted = {name for name in _kept(state) if _belongs(name, snapshot)}
        wanted |= before & snapshot.named
        try:
            _copy(state, directory, sorted(wanted), files, tell)
        except _GoneError:
            for name in files:
                (directory / name).unlink()
            files.clear()
            continue
        files[DATABASE] = _entry(directory / DATABASE)
        return snapshot
    raise StoreError(f"{state}: rounds follow each other too fast for a backup; raise retention.rounds and .models")


def _examined(copy: Path) -> _Snapshot:
    with frozen(copy) as connection:
        if fault := next(faults(connection), None):
            raise StoreError(f"{copy}: is damaged ({fault}); see what helps: fedloom aggregator check")
        newest = connection.scalar(select(func.max(t.rounds.c.manifest_version))) or 0
        return _Snapshot(newest, frozenset(_named(connection)))


def _named(connection: Connection) -> set[str]:
    models = connection.execute(select(t.models.c.job_name, t.models.c.path))
    segments = connection.execute(
        select(t.rounds.c.job, t.rounds.c.round, t.rounds.c.attempt)
        .join(t.updates, t.updates.c.counted_in == t.rounds.c.manifest_version)
        .where(t.updates.c.spool_offset.is_not(None))
        .distinct()
    )
    return {
        *(f"models/{job}/{path}" for job, path in models),
        *(f"spool/{segment_name(job, number, attempt)}" for job, number, attempt in segments),
        *_told(connection),
    }


def _told(connection: Connection) -> Iterator[str]:
    """What an app was told in the rounds of its run, if that is the newest one and not over."""
    own, newest = t.rounds.c, select(t.jobs.c.id).order_by(t.jobs.c.number.desc()).limit(1).scalar_subquery()
    rounds = connection.execute(select(own.job, own.round, own.phase, own.status).where(own.job == newest)).all()
    if not any(each.phase == Phase.DONE.value for each in rounds):
        over = (each for each in rounds if each.status != "open")
        yield from (path_of(Path(DIRECTORY), each.job, each.round, TOLD).as_posix() for each in over)


def _belongs(name: str, snapshot: _Snapshot) -> bool:
    """Whether a file is of the copy's time: no model, segment or answers that came later, and nothing of an app's round
    that is open, which a restore ends."""
    return name in snapshot.named or not name.endswith((".fedloom", ".spool", f".{TOLD}", f".{REQUEST}"))


def _kept(state: Path) -> set[str]:
    return set().union(*(_listed(state, each) for each in DIRECTORIES if each != "keys"))


def _copy(state: Path, directory: Path, names: list[str], files: dict[str, Entry], tell: Tell) -> None:
    all_bytes, done_bytes = sum(_size(state / name) for name in names), 0
    for done, name in enumerate(names, 1):
        target = directory / name
        for folder in reversed([each for each in target.parents if each.is_relative_to(directory)]):
            make_private_directory(folder)
        target.unlink(missing_ok=True)
        try:
            digest = copy_file(state / name, target)
        except FileNotFoundError:
            raise _GoneError from None
        files[name] = Entry(target.stat().st_size, digest.hex())
        done_bytes += files[name].size
        tell("copied", done, len(names), done_bytes, all_bytes)


def _listed(state: Path, folder: str) -> set[str]:
    """The files below one of the state's directories, without those that are being written or were put aside."""
    paths = (path for path in (state / folder).rglob("*") if path.is_file() and not path.is_symlink())
    return {
        path.relative_to(state).as_posix()
        for path in paths
        if not path.name.startswith(".") and ".damaged-" not in path.name
    }


def _entry(path: Path) -> Entry:
    return Entry(path.stat().st_size, digest_of(path).hex())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
