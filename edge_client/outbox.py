"""The device's state directory: who holds it, the state file, the outbox, residuals and the final model.

    lock                 held while a daemon runs
    state                see edge_client.state
    outbox/{digest}      an update that waits for its receipt
    residuals/{digest}   the error-feedback residual that goes with that update
    model.fedloom        the last job's final model
    silent               since when the aggregator has said nothing; there only while it does

A residual becomes current by being named in the state file. Files that nothing names are removed at the start.
"""

import fcntl
import os
from pathlib import Path
from typing import NamedTuple

from edge_client.state import OUTBOX_MAGIC, STATE_MAGIC, DeviceState, OutboxEntry, from_bytes, to_bytes
from fedloom.errors import StoreError
from fedloom.files import make_private_directory, try_lock, write_durably

STATE_REMEDY = "restore it, or delete it: the device then starts again as a new incarnation"


class Contents(NamedTuple):
    """What a state directory holds."""

    state: DeviceState | None
    """None: there never was one."""
    entries: tuple[OutboxEntry, ...]


class StateDirectory:
    """Durable state. Every write is on disk when the call returns; an OSError means that it is not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / "model.fedloom"
        self._state = path / "state"
        self._silent = path / "silent"
        self._outbox = path / "outbox"
        self._residuals = path / "residuals"
        self._lock: int | None = None
        self._current_residual = b""

    def hold(self) -> None:
        """Create the directory if need be, and hold it for this process alone.

        Raises:
            StoreError: another process holds it, or it cannot be written.
            TrustError: others may enter it.
        """
        try:
            for each in (self.path, self._outbox, self._residuals):
                make_private_directory(each)
            self._lock = try_lock(self.path / "lock")
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be used ({error.strerror}); name another `state`") from None
        if self._lock is None:
            problem = f"{self.path}: another fedloom-edge is using this state directory"
            raise StoreError(f"{problem}; stop it, or name another `state`")

    def release(self) -> None:
        """Let another process hold it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def is_held(self) -> bool:
        """Whether some process holds it now."""
        try:
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
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
            StoreError: a file is damaged or cannot be read.
        """
        try:
            state = self._read_state()
            names = sorted(path for path in self._files(self._outbox) if not path.name.startswith("."))
            entries = tuple(entry for path in names if (entry := self._read_entry(path)) is not None)
        except OSError as error:
            raise StoreError(f"{error.filename}: cannot be read ({error.strerror}); check its owner") from None
        self._current_residual = state.residual if state else b""
        return Contents(state, entries)

    def tidy(self, contents: Contents) -> None:
        """Remove files that a crash has left behind and nothing names.

        Raises:
            StoreError: a file that is named is missing.
        """
        named = {entry.digest.hex() for entry in contents.entries}
        if contents.state and contents.state.residual:
            residual = self._residual(contents.state.residual)
            if not residual.exists():
                raise StoreError(f"{self._state}: names {residual}, which is missing; {STATE_REMEDY}")
            named.add(residual.name)
        for path in (*self._files(self._outbox), *self._files(self._residuals)):
            if path.name not in named:
                path.unlink()

    def write_state(self, state: DeviceState) -> None:
        """Replace the state file."""
        write_durably(self._state, to_bytes(STATE_MAGIC, state))
        self._current_residual = state.residual

    def note_silence(self, since_s: float | None) -> None:
        """Note since when (seconds since 1970, by this device's clock) nothing was heard; None: something was."""
        if since_s is None:
            self._silent.unlink(missing_ok=True)
        else:
            write_durably(self._silent, b"%d\n" % since_s)

    def silent_since(self) -> int | None:
        """What `note_silence` noted.

        Raises:
            StoreError: the note cannot be read.
        """
        try:
            text = self._silent.read_bytes().strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self._silent}: cannot be read ({error.strerror}); check its owner") from None
        return int(text) if text.lstrip(b"-").isdigit() else None

    def store(self, entry: OutboxEntry, residual: bytes | None) -> None:
        """Put an update on disk, its residual first."""
        if residual is not None:
            write_durably(self._residual(entry.digest), residual)
        write_durably(self._outbox / entry.digest.hex(), to_bytes(OUTBOX_MAGIC, entry))

    def drop(self, digest: bytes) -> None:
        """Remove an update, and all residuals but the current one.

        Not synced: an update that comes back after a power cut is sent again, and its receipt again removes it.
        """
        (self._outbox / digest.hex()).unlink(missing_ok=True)
        for path in self._files(self._residuals):
            if path.name != self._current_residual.hex():
                path.unlink()

    def read_residual(self, digest: bytes) -> bytes:
        """The residual that goes with an update."""
        return self._residual(digest).read_bytes()

    def _residual(self, digest: bytes) -> Path:
        return self._residuals / digest.hex()

    def _read_state(self) -> DeviceState | None:
        try:
            data = self._state.read_bytes()
        except FileNotFoundError:
            return None
        return from_bytes(STATE_MAGIC, data, DeviceState, self._state, STATE_REMEDY)

    def _read_entry(self, path: Path) -> OutboxEntry | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None  # a running daemon has dropped it in the meantime
        entry = from_bytes(OUTBOX_MAGIC, data, OutboxEntry, path, "delete it: that round's update is lost")
        if entry.digest.hex() != path.name:
            raise StoreError(f"{path}: holds another update than its name says; delete it")
        return entry

    @staticmethod
    def _files(directory: Path) -> list[Path]:
        return list(directory.iterdir()) if directory.is_dir() else []
