"""The device's state directory: who holds it, the state file, the outbox, residuals and the final model.

    lock                 held while a daemon runs
    state                see edge_client.state
    outbox/{digest}      an update that waits for its receipt
    residuals/{digest}   the error-feedback residual that goes with that update
    download/{hash}      the chunks of a model that have come so far, see edge_client.download
    model.fedloom        the last job's final model
    silent               since when the aggregator has said nothing; there only while it does
    sleeping             until when the device sleeps; there only while it does

A residual becomes current by being named in the state file. Files that nothing names are removed at the start. A
damaged update or residual is set aside as NAME.damaged-N then, and the device goes on without it; without a sound state
file it does not start.
"""

import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from edge_client.download import Download
from edge_client.notes import Note
from edge_client.state import (
    OUTBOX_MAGIC,
    RESIDUAL_MAGIC,
    STATE_MAGIC,
    DeviceState,
    OutboxEntry,
    from_bytes,
    sealed,
    to_bytes,
    unsealed,
)
from fedloom.errors import StoreError
from fedloom.failpoints import failpoint
from fedloom.files import make_private_directory, sync_directory, try_lock, write_durably
from fedloom.quarantine import is_aside, set_aside
from fedloom.wire.envelope import HEADER_BYTES

STATE_REMEDY = "run: fedloom-edge repair --config FILE"
_ASIDE = "it is set aside when the device starts"
MAX_ASIDE = 3
"""Damaged files that are kept in each directory; the oldest go."""

log = logging.getLogger("fedloom.edge")


class Damaged(NamedTuple):
    """A file without which the device goes on."""

    path: Path
    reason: str


class Contents(NamedTuple):
    """What a state directory holds."""

    state: DeviceState | None
    """None: there never was one."""
    entries: tuple[OutboxEntry, ...]
    damaged: tuple[Damaged, ...] = ()
    """Updates and residuals that are not what was written."""


class StateDirectory:
    """Durable state. Every write is on disk when the call returns; an OSError means that it is not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / "model.fedloom"
        self.state = path / "state"
        self.silent = Note(path / "silent")
        self.sleeping = Note(path / "sleeping")
        self._outbox = path / "outbox"
        self._residuals = path / "residuals"
        self.download = Download(path / "download")
        self._starts: dict[bytes, int] = {}
        """Where the blobs of updates begin in their files."""
        self._lock: int | None = None
        self._current_residual = b""
        self._manifest_version = 0

    def hold(self) -> None:
        """Create the directory if need be, and hold it for this process alone.

        Raises:
            StoreError: another process holds it, or it cannot be written.
            TrustError: others may enter it.
        """
        try:
            for each in (self.path, self._outbox, self._residuals, self.download.path):
                make_private_directory(each)
            self._sync_names()
            self._lock = try_lock(self.path / "lock")
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be used ({error.strerror}); name another `state`") from None
        if self._lock is None:
            problem = f"{self.path}: another fedloom-edge is using this state directory"
            raise StoreError(f"{problem}; stop it, or name another `state`")

    def _sync_names(self) -> None:
        """What is found here counts, but the process before may have died before it had made the names durable."""
        with suppress(PermissionError):
            sync_directory(self.path.parent)
        for each in (self.path, self._outbox, self._residuals):
            sync_directory(each)

    def release(self) -> None:
        """Let another process hold it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def is_held(self) -> bool:
        """Whether some process holds it now.

        Raises:
            StoreError: that cannot be seen.
        """
        path = self.path / "lock"
        try:
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # the disk may be read-only
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error.strerror}); run as the user that owns it") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def read(self) -> Contents:
        """The state and the outbox as they are on disk.

        Raises:
            StoreError: the state file is damaged, or a file cannot be read.
        """
        damaged: list[Damaged] = []
        try:
            state = self._read_state()
            names = sorted(
                path for path in self._files(self._outbox) if not (path.name.startswith(".") or is_aside(path))
            )
            entries = tuple(entry for path in names if (entry := self._read_entry(path, damaged)) is not None)
            if state and state.residual and (found := self._look_at_residual(state.residual)):
                damaged.append(found)
        except OSError as error:
            raise StoreError(f"{error.filename}: cannot be read ({error.strerror}); check its owner") from None
        if state:
            self._current_residual, self._manifest_version = state.residual, state.manifest_version
        return Contents(state, entries, tuple(damaged))

    def is_state_damaged(self) -> bool:
        """Whether there is a state file, and it is not what was written.

        Raises:
            OSError: it cannot be read.
        """
        try:
            self._read_state()
        except StoreError:
            return True
        return False

    def tidy(self, contents: Contents) -> Contents:
        """Remove files that a crash has left behind and nothing names, set damaged ones aside; returns what is left.

        Without its residual the device's error feedback begins at zero. That is safe: what its encodings have lost so
        far is lost, and nothing is counted twice.
        """
        self.sleeping.write(None)
        named = {entry.digest.hex() for entry in contents.entries}
        state, lost = contents.state, [self.put_aside(each) for each in contents.damaged]
        if state and state.residual:
            if self._residual(state.residual) in lost:
                state = msgspec.structs.replace(state, residual=b"", residual_job=b"")
                self._current_residual = b""
            named.add(state.residual.hex())
        for path in (*self._files(self._outbox), *self._files(self._residuals)):
            if path.name not in named and not is_aside(path):
                path.unlink()
        return Contents(state, contents.entries)

    def write_state(self, state: DeviceState) -> None:
        """Replace the state file."""
        if state.manifest_version != self._manifest_version:
            failpoint("device.manifest-verified")
        write_durably(self.state, to_bytes(STATE_MAGIC, state))
        self._current_residual, self._manifest_version = state.residual, state.manifest_version

    def store(self, entry: OutboxEntry, residual: bytes | None) -> None:
        """Put an update on disk, its residual first."""
        if residual is not None:
            write_durably(self._residual(entry.digest), sealed(RESIDUAL_MAGIC, residual))
        data = to_bytes(OUTBOX_MAGIC, entry)
        write_durably(self._outbox / entry.digest.hex(), data)
        self._note_start(entry, data)

    def ages_s(self, now_s: float) -> tuple[tuple[bytes, float], ...]:
        """How long each update has been there: negative where the clock was set back, years where it was set ahead."""
        paths = [each for each in self._files(self._outbox) if not (each.name.startswith(".") or is_aside(each))]
        return tuple((bytes.fromhex(each.name), now_s - each.stat().st_mtime) for each in paths)

    def drop(self, digest: bytes) -> None:
        """Remove an update, and all residuals but the current one.

        Not synced: an update that comes back after a power cut is sent again, and its receipt again removes it.
        """
        (self._outbox / digest.hex()).unlink(missing_ok=True)
        self._starts.pop(digest, None)
        for path in self._files(self._residuals):
            if path.name != self._current_residual.hex() and not is_aside(path):
                path.unlink()

    def read_slice(self, digest: bytes, start: int, length: int) -> bytes:
        """A part of an update's blob."""
        with (self._outbox / digest.hex()).open("rb") as file:
            return os.pread(file.fileno(), length, self._starts[digest] + start)

    def read_residual(self, digest: bytes) -> bytes:
        """The residual that goes with an update; empty, with a warning, where it is missing or damaged."""
        found = self._look_at_residual(digest)
        if found is not None:
            self.put_aside(found)
            return b""
        return unsealed(RESIDUAL_MAGIC, self._residual(digest).read_bytes(), self._residual(digest), _ASIDE)

    def _look_at_residual(self, digest: bytes) -> Damaged | None:
        path = self._residual(digest)
        try:
            unsealed(RESIDUAL_MAGIC, path.read_bytes(), path, _ASIDE)
        except FileNotFoundError:
            return Damaged(path, f"{path}: is missing")
        except StoreError as error:
            return Damaged(path, str(error))
        return None

    @staticmethod
    def put_aside(damaged: Damaged) -> Path:
        """Rename it, if it is there, and say so; returns where it was."""
        kept = set_aside(damaged.path, MAX_ASIDE) if damaged.path.exists() else None
        log.warning("state.damaged reason=%r kept=%s", damaged.reason, kept)
        return damaged.path

    def _residual(self, digest: bytes) -> Path:
        return self._residuals / digest.hex()

    def _read_state(self) -> DeviceState | None:
        try:
            data = self.state.read_bytes()
        except FileNotFoundError:
            return None
        return from_bytes(STATE_MAGIC, data, DeviceState, self.state, STATE_REMEDY)

    def _read_entry(self, path: Path, damaged: list[Damaged]) -> OutboxEntry | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None  # a running daemon has dropped it in the meantime
        try:
            entry = from_bytes(OUTBOX_MAGIC, data, OutboxEntry, path, f"that round's update is lost; {_ASIDE}")
        except StoreError as error:
            damaged.append(Damaged(path, str(error)))
            return None
        if entry.digest.hex() != path.name:
            damaged.append(Damaged(path, f"{path}: holds another update than its name says; {_ASIDE}"))
            return None
        self._note_start(entry, data)
        return entry

    def _note_start(self, entry: OutboxEntry, data: bytes) -> None:
        self._starts[entry.digest] = data.index(entry.blob[:HEADER_BYTES])  # it holds a message id: there is one such

    @staticmethod
    def _files(directory: Path) -> list[Path]:
        return list(directory.iterdir()) if directory.is_dir() else []
