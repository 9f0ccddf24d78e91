"""Files that survive a power cut, and files that only their owner may read."""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fedloom.errors import TrustError


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data`, all or nothing: written beside it, fsynced, renamed, directory fsynced."""
    beside = _beside(path)
    beside.unlink(missing_ok=True)  # what a crash has left; or somebody else's, or a link to elsewhere
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def create_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Like `write_durably`, but never over a file that is there already.

    Raises:
        FileExistsError: `path` exists.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)


def write_at(path: Path, start: int, data: bytes) -> None:
    """Put bytes at their place in a file, which is made for its owner alone if it is not there; not synced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        left = memoryview(data)
        while left:
            written = os.pwrite(descriptor, left, start)
            left, start = left[written:], start + written
    finally:
        os.close(descriptor)


def create_private_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Make a directory of secrets (0700, files 0600), all or nothing.

    Raises:
        FileExistsError: `path` is there already.
    """
    if path.exists():
        raise FileExistsError(errno.EEXIST, "is there already", str(path))
    beside = _beside(path)
    shutil.rmtree(beside, ignore_errors=True)  # what a crash has left
    beside.mkdir(mode=0o700, parents=True)
    for name, data in files.items():
        create_durably(beside / name, data)
    beside.rename(path)
    sync_directory(path.parent)


def remove_private_directory(path: Path) -> None:
    """Remove what `create_private_directory` made, all or nothing: what a crash leaves, the next one there removes."""
    beside = _beside(path)
    shutil.rmtree(beside, ignore_errors=True)
    path.rename(beside)
    sync_directory(path.parent)
    shutil.rmtree(beside)


def _beside(path: Path) -> Path:
    """Where a new file or directory is made whole before it is given its name."""
    return path.with_name(f".{path.name}.new")


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_directory(path: Path) -> None:
    """Create `path` for its owner alone (0700), or refuse one that others can enter.

    Raises:
        TrustError: it is there and open to others.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_shared(path)


def read_private(path: Path) -> bytes:
    """The bytes of a secret that nobody but its owner may read.

    Raises:
        TrustError: it is missing, unreadable, or open to others.
    """
    try:
        refuse_shared(path)
        return path.read_bytes()
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror}); run as the user that owns it") from None


def refuse_shared(path: Path) -> None:
    """Raise TrustError if group or others have any access to `path`."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        safe = "700" if path.is_dir() else "600"
        raise TrustError(f"{path}: mode {mode:04o} lets others in; run: chmod {safe} {path}")


def try_lock(path: Path) -> int | None:
    """Lock a directory, or a file that is made for it, against other processes; None: one of them has it.

    The lock is held until the descriptor that is returned is closed, or the process ends.
    """
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Like `try_lock`, but waits for its turn."""
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    how = os.O_RDONLY | os.O_DIRECTORY if path.is_dir() else os.O_RDWR | os.O_CREAT
    return os.open(path, how | os.O_CLOEXEC, 0o600)
