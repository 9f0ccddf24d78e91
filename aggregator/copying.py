"""Copies of the database and of files: each whole, durable and private, or not there."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

from fedloom.errors import StoreError
from fedloom.files import sync_directory

_PIECE_BYTES = 2**20


@contextmanager
def full_disk_told(directory: Path) -> Iterator[None]:
    """What a write says that fails, without naming its file.

    Raises:
        StoreError: instead of such an OSError.
    """
    try:
        yield
    except OSError as error:
        path = error.filename or directory
        raise StoreError(f"{path}: cannot be written ({error.strerror}); check its owner and the disk (df)") from None


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment, which others may be writing to, over whatever is at `target`."""
    beside = target.with_name(f".{target.name}.new")
    beside.unlink(missing_ok=True)
    os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(source, timeout=10.0)) as old, closing(sqlite3.connect(beside)) as new:
        old.backup(new, pages=-1)  # one step is one moment: with several, a busy writer has it begin again and again
        new.execute("PRAGMA journal_mode = DELETE")  # no log beside it
    _sync(beside)
    beside.replace(target)
    sync_directory(target.parent)


def copy_file(source: Path, target: Path) -> bytes:
    """Copy what `source` holds now, durably but for the name; returns the SHA-256 of it.

    Raises:
        FileNotFoundError: it is gone.
        FileExistsError: `target` is there.
    """
    digest = sha256()
    with source.open("rb") as old:
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as new:
            while piece := old.read(_PIECE_BYTES):
                digest.update(piece)
                new.write(piece)
            new.flush()
            os.fsync(descriptor)
    return digest.digest()


def digest_of(path: Path) -> bytes:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        digest = sha256()
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.digest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
