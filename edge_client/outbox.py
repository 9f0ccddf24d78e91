"""The device's state directory: who holds it, the state file, the outbox, residuals and the final model.

    lock                 held while a daemon runs
    state                see edge_client.state
    outbox/{digest}      an update that waits for its receipt
    residuals/{digest}   the error-feedback residual that goes with that update
    controls/{digest}    the control variate that it makes
    download/{hash}      the chunks of a model that have come so far, see edge_client.download
    personal/            this device's own model while a job runs, see edge_client.personal_files
    model.fedloom        the last job's final model
    personal.fedloom     this device's own, where that job makes such; never of another job than model.fedloom
    silent               since when the aggregator has said nothing; there only while it does
    sleeping             until when the device sleeps; there only while it does

A residual, or a variate, becomes current by being named in the state file. Files that nothing names are removed at the
start. A damaged update, residual or variate is set aside as NAME.damaged-N then, and the device goes on without it;
without a sound state file it does not start.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from edge_client.download import Download
from edge_client.kept import ASIDE, Damaged, KeptVectors, put_aside
from edge_client.notes import Note
from edge_client.personal_files import PersonalFiles
from edge_client.state import (
    CONTROL_MAGIC,
    OUTBOX_MAGIC,
    RESIDUAL_MAGIC,
    STATE_MAGIC,
    DeviceState,
    OutboxEntry,
    from_bytes,
    to_bytes,
)
from fedloom.errors import StoreError
from fedloom.failpoints import failpoint
from fedloom.files import make_private_directory, sync_directory, try_lock, write_durably
from fedloom.quarantine import is_aside
from fedloom.wire.envelope import HEADER_BYTES

STATE_REMEDY = "run: fedloom-edge repair --config FILE"


class Contents(NamedTuple):
    """What a state directory holds."""

    state: DeviceState | None
    """None: there never was one."""
    entries: tuple[OutboxEntry, ...]
    damaged: tuple[Damaged, ...] = ()
    """Updates, residuals and variates that are not what was written."""


class StateDirectory:
    """Durable state. Every write is on disk when the call returns; an OSError means that it is not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / "model.fedloom"
        self.personal = path / "personal.fedloom"
        self.state = path / "state"
        self.silent = Note(path / "silent")
        self.sleeping = Note(path / "sleeping")
        self._outbox = path / "outbox"
        self.residuals = KeptVectors(path / "residuals", RESIDUAL_MAGIC)
        self.controls = KeptVectors(path / "controls", CONTROL_MAGIC)
        self.personals = PersonalFiles(path / "personal")
        self.download = Download(path / "download")
        self._starts: dict[bytes, int] = {}
        """Where the blobs of updates begin in their files."""
        self._lock: int | None = None
        self._named: DeviceState | None = None
        """The state on disk: what it names stays there, too."""
        self._manifest_version = 0

    def hold(self) -> None:
        """Create the directory if need be, and hold it for this process alone.

        Raises:
            StoreError: another process holds it, or it cannot be written.
            TrustError: others may enter it.
        """
        try:
            for each in (*self._synced, self.download.path):
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
        for each in self._synced:
            sync_directory(each)

    @property
    def _synced(self) -> tuple[Path, ...]:
        return self.path, self._outbox, self.residuals.path, self.controls.path, self.personals.path

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
            damaged += self.residuals.damaged(_residuals_of(state)) + self.controls.damaged(_controls_of(state))
        except OSError as error:
            raise StoreError(f"{error.filename}: cannot be read ({error.strerror}); check its owner") from None
        if state:
            self._named, self._manifest_version = state, state.manifest_version
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
        far is lost, and nothing is counted twice. Without its variate that begins at zero, too.
        """
        self.sleeping.write(None)
        state, lost = contents.state, {put_aside(each) for each in contents.damaged}
        if state and self.residuals.file(state.residual) in lost:
            state = msgspec.structs.replace(state, residual=b"", residual_job=b"")
        if state and self.controls.file(state.control) in lost:
            state = msgspec.structs.replace(state, control=b"", control_job=b"")
        if state and self.controls.file(state.offered) in lost:
            state = msgspec.structs.replace(state, offered=b"")
        self._named = state
        named = {entry.digest.hex() for entry in contents.entries}
        for path in self._files(self._outbox):
            if path.name not in named and not is_aside(path):
                path.unlink()
        self._drop_unnamed()
        self.personals.tidy([entry.digest for entry in contents.entries])
        return Contents(state, contents.entries)

    def write_state(self, state: DeviceState) -> None:
        """Replace the state file."""
        if state.manifest_version != self._manifest_version:
            failpoint("device.manifest-verified")
        write_durably(self.state, to_bytes(STATE_MAGIC, state))
        self._named, self._manifest_version = state, state.manifest_version

    def store(
        self,
        entry: OutboxEntry,
        residual: bytes | None,
        control: bytes | None = None,
        personal: bytes | None = None,
    ) -> None:
        """Put an update on disk, what goes with it first."""
        if residual is not None:
            self.residuals.write(entry.digest, residual)
        if control is not None:
            self.controls.write(entry.digest, control)
        if personal is not None:
            self.personals.write(entry.digest, personal)
        data = to_bytes(OUTBOX_MAGIC, entry)
        write_durably(self._outbox / entry.digest.hex(), data)
        self._note_start(entry, data)
        self.personals.adopt(entry.digest)

    def drop_personal(self) -> None:
        """Remove this device's own model of a job that is followed by another, before that one's model is saved."""
        if self.personal.exists():
            self.personal.unlink()
            sync_directory(self.path)

    def ages_s(self, now_s: float) -> tuple[tuple[bytes, float], ...]:
        """How long each update has been there: negative where the clock was set back, years where it was set ahead."""
        paths = [each for each in self._files(self._outbox) if not (each.name.startswith(".") or is_aside(each))]
        return tuple((bytes.fromhex(each.name), now_s - each.stat().st_mtime) for each in paths)

    def drop(self, digest: bytes) -> None:
        """Remove an update, and the residuals and variates that neither the state nor another update has.

        Not synced: an update that comes back after a power cut is sent again, and its receipt again removes it.
        """
        (self._outbox / digest.hex()).unlink(missing_ok=True)
        self._starts.pop(digest, None)
        self._drop_unnamed()

    def _drop_unnamed(self) -> None:
        waiting = {path.name for path in self._files(self._outbox)}
        self.residuals.keep(waiting, _residuals_of(self._named))
        self.controls.keep(waiting, _controls_of(self._named))

    def read_slice(self, digest: bytes, start: int, length: int) -> bytes:
        """A part of an update's blob."""
        with (self._outbox / digest.hex()).open("rb") as file:
            return os.pread(file.fileno(), length, self._starts[digest] + start)

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
            entry = from_bytes(OUTBOX_MAGIC, data, OutboxEntry, path, f"that round's update is lost; {ASIDE}")
        except StoreError as error:
            damaged.append(Damaged(path, str(error)))
            return None
        if entry.digest.hex() != path.name:
            damaged.append(Damaged(path, f"{path}: holds another update than its name says; {ASIDE}"))
            return None
        self._note_start(entry, data)
        return entry

    def _note_start(self, entry: OutboxEntry, data: bytes) -> None:
        self._starts[entry.digest] = data.index(entry.blob[:HEADER_BYTES])  # it holds a message id: there is one such

    @staticmethod
    def _files(directory: Path) -> list[Path]:
        return list(directory.iterdir()) if directory.is_dir() else []


def _residuals_of(state: DeviceState | None) -> tuple[bytes, ...]:
    """Names of those that the state needs; empty ones are none."""
    return (state.residual,) if state else ()


def _controls_of(state: DeviceState | None) -> tuple[bytes, ...]:
    return (state.control, state.offered) if state else ()
