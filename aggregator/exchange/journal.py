"""What an app was told in its run, on disk: a killed app that is started again is answered from it.

    RUN/NNNNNNN.request   the request of the round that is open
    RUN/NNNNNNN.told      what each invited device has answered in a round that is over

Both are checksummed (see `fedloom.files`: whole or not there). They are durable before the database says that the round
is open, or over. Each answer is given once, in the order of the rounds; those of the process before alone.
"""

import shutil
from collections import defaultdict, deque
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from aggregator import history
from aggregator.damage import DamagedError
from aggregator.exchange.letters import Entry
from aggregator.store import Store
from fedloom import msgpack
from fedloom.errors import Refused, StoreError
from fedloom.files import make_private_directory, write_durably
from fedloom.wire.messages import Phase
from fedloom.wire.records import Reply

DIRECTORY = "exchange"
_DIGEST_BYTES = 32


class Recalled(NamedTuple):
    """An answer of an earlier process."""

    reply: Reply | None
    """None: the device had not answered in time."""


class _Told(msgspec.Struct, frozen=True, array_like=True):
    request: bytes
    """Its SHA-256."""
    outcomes: tuple[tuple[bytes, Reply | None], ...]


class Journal:
    """Of one run at a time."""

    def __init__(self, state: Path) -> None:
        self._directory = state / DIRECTORY
        self._run = b""
        self._files: dict[tuple[bytes, bytes], deque[Path]] = defaultdict(deque)
        """Of each request and device, the rounds in which it was answered, oldest first."""
        self._read: tuple[Path, dict[bytes, Reply | None]] | None = None
        """The file that was read last: an app asks all devices at once."""

    def is_whole(self, store: Store) -> bool:
        """Whether the newest run was interrupted, and all that its app was told is here."""
        newest = history.newest_job(store)
        rounds = history.rounds_of(store, newest[0]) if newest else []
        if newest is None or not rounds or any(each.phase == Phase.DONE.value for each in rounds):
            return False
        return all(
            self._path(newest[0], each.round, "request" if each.status == "open" else "told").exists()
            for each in rounds
        )

    def open(self, run: bytes, open_round: int | None) -> bytes:
        """Make this run's answers ready, and forget other runs; returns the request of its open round, if one is.

        Raises:
            StoreError: the disk does not take it, or what it has is damaged.
        """
        self._run = run
        try:
            make_private_directory(self._directory)
            for other in self._directory.iterdir():
                if other.name != run.hex():
                    shutil.rmtree(other)
            make_private_directory(self._directory / run.hex())
            if open_round is not None:  # its answers are in the spool, and may still become more
                self._path(run, open_round, "told").unlink(missing_ok=True)
            for path in sorted((self._directory / run.hex()).glob("*.told")):
                told = _told(path)
                for device, _ in told.outcomes:
                    self._files[told.request, device].append(path)
            return _unsealed(self._path(run, open_round, "request")) if open_round is not None else b""
        except OSError as error:
            raise StoreError(
                f"{self._directory}: cannot be used ({error.strerror}); free or repair the disk"
            ) from error

    def write(self, entry: Entry) -> None:
        """Make what a turn adds durable.

        Raises:
            StoreError: it is not.
        """
        try:
            if entry.answered:
                told = _Told(entry.answered.request, entry.answered.outcomes)
                path = self._path(self._run, entry.answered.round, "told")
                write_durably(path, _sealed(msgpack.encode(told)))
            if entry.request:
                write_durably(self._path(self._run, entry.round, "request"), _sealed(entry.request))
            # A round's own request stays until the next turn: this one may never be committed.
            oldest = entry.answered.round if entry.answered else entry.round
            for path in (self._directory / self._run.hex()).glob("*.request"):
                if path < self._path(self._run, oldest, "request"):
                    path.unlink()
        except OSError as error:
            raise StoreError(f"{self._directory}: cannot be written ({error.strerror})") from error

    def recall(self, request: bytes, device: bytes) -> Recalled | None:
        """What an earlier process was told by this device on this request (its SHA-256), for the first time first."""
        files = self._files.get((request, device))
        if not files:
            return None
        path = files.popleft()
        if self._read is None or self._read[0] != path:
            self._read = path, dict(_told(path).outcomes)
        return Recalled(self._read[1][device])

    def _path(self, run: bytes, number: int, ending: str) -> Path:
        return self._directory / run.hex() / f"{number:07d}.{ending}"


def _told(path: Path) -> _Told:
    try:
        return msgpack.decode(_unsealed(path), _Told)
    except Refused as error:
        raise DamagedError(f"{path}: is damaged ({error.detail})") from None


def _sealed(content: bytes) -> bytes:
    return sha256(content).digest() + content


def _unsealed(path: Path) -> bytes:
    data = path.read_bytes()
    if sha256(data[_DIGEST_BYTES:]).digest() != data[:_DIGEST_BYTES]:
        raise DamagedError(f"{path}: is damaged; without --resume a new run begins")
    return data[_DIGEST_BYTES:]
