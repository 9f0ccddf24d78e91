"""Puts a backup back into an empty state directory, all or nothing.

Everything is verified, copied to `.restore.new` and made ready there, then moved into its place: the keys last, without
which no command believes that there is a federation. What a crash has left, the next call removes.
"""

import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from aggregator import keys
from aggregator.backup.inventory import DIRECTORIES, Inventory, Tell, verified
from aggregator.backup.last import LastBackup, remember
from aggregator.backup.leap import leap
from aggregator.backup.revocations import listed_serials, revoke_again
from aggregator.copying import copy_file, full_disk_told
from aggregator.database import empty_log, open_database
from aggregator.store import DATABASE
from fedloom.errors import StoreError
from fedloom.files import make_private_directory, refuse_shared, sync_directory, try_lock

STAGING = ".restore.new"
_PLACES = (DATABASE, *DIRECTORIES)


class Restored(NamedTuple):
    """What was put back."""

    inventory: Inventory
    revoked: list[str]
    """Names of devices that were in when the backup was made, and are out now."""


def restore(directory: Path, state: Path, tell: Tell, revoked: Path | None = None) -> Restored:
    """Make `state` what it was when the backup was made, and have it go on above all versions that devices have seen.

    `revoked`: the broker's list of revoked certificates, which may be newer than the backup.

    Raises:
        StoreError: the backup is incomplete or altered, or the list is not of its federation; or `state` has something
            in it, or is in use.
        TrustError: others may enter `state`.
    """
    inventory = verified(directory, tell)
    with full_disk_told(state):
        return _put_back(directory, state, tell, revoked, inventory)


def _put_back(directory: Path, state: Path, tell: Tell, revoked: Path | None, inventory: Inventory) -> Restored:
    make_private_directory(state)
    lock = try_lock(state / "lock")
    if lock is None:
        raise StoreError(f"{state}: an aggregator runs on it; stop that one first")
    try:
        _make_room(state)
        staging = state / STAGING
        make_private_directory(staging)
        _copy(directory, staging, inventory, tell)
        authority = keys.load(staging).registrar.authority.certificate
        names = _go_on(staging / DATABASE, listed_serials(revoked, authority) if revoked else [])
        for name in _PLACES:
            (staging / name).rename(state / name)
            sync_directory(state)
        for left in staging.iterdir():
            left.rename(state / left.name)  # the copy of an older schema
        staging.rmdir()
        remember(state, LastBackup(str(directory.absolute()), inventory.made_at))
    finally:
        os.close(lock)
    return Restored(inventory, names)


def _make_room(state: Path) -> None:
    """Remove what an interrupted restore has left; refuse anything else."""
    staging = state / STAGING
    there = [name for name in (*_PLACES, f"{DATABASE}-wal", f"{DATABASE}-shm") if (state / name).exists()]
    if there and ("keys" in there or not staging.exists()):
        raise StoreError(f"{state / there[0]}: is there already; move the state directory away, or name an empty one")
    for name in (*there, STAGING):
        if (state / name).is_dir():
            shutil.rmtree(state / name)
        else:
            (state / name).unlink(missing_ok=True)


def _copy(directory: Path, staging: Path, inventory: Inventory, tell: Tell) -> None:
    done_bytes = 0
    for done, (name, entry) in enumerate(inventory.files.items(), 1):
        target = staging / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if copy_file(directory / name, target).hex() != entry.sha256:
            raise StoreError(f"{directory / name}: has changed since it was verified; choose another backup")
        done_bytes += entry.size
        tell("copied", done, len(inventory.files), done_bytes, inventory.size_bytes)
    for each in DIRECTORIES:
        (staging / each).mkdir(mode=0o700, exist_ok=True)
    for folder in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
        folder.chmod(0o700)
        refuse_shared(folder)
        sync_directory(folder)


def _go_on(path: Path, revoked: list[str]) -> list[str]:
    """Leap, and revoke again; returns the names of those devices."""
    engine = open_database(path, leads=True)
    try:
        with engine.connect() as connection:
            names = _changed(connection, revoked)
        empty_log(engine)
    finally:
        engine.dispose()
    sync_directory(path.parent)
    return names


def _changed(connection: Connection, revoked: list[str]) -> list[str]:
    connection.rollback()
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    leap(connection, time.time())
    names = revoke_again(connection, revoked)
    connection.commit()
    return names
