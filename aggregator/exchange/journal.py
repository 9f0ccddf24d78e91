"""What an app was told in its run, on disk: a killed app that is started again is answered from it.

Its files (see aggregator.exchange.journal_files) are durable before the database says that their round is open, or
over. Each answer is given once, in the order of the rounds; those of the process before alone.

An app begins again at its beginning, so all of its run is needed, and a part of it is of no use. What grows beyond
`retention.journal_bytes` is therefore given up whole: the run goes on, but can no longer be carried on.
"""

import logging
import shutil
from collections import defaultdict, deque
from pathlib import Path
from typing import NamedTuple

from aggregator.exchange.journal_files import (
    DIRECTORY,
    REQUEST,
    TOLD,
    Told,
    open_run,
    path_of,
    read_told,
    seal,
    unseal,
)
from aggregator.exchange.letters import Entry
from aggregator.store import Store
from fedloom import msgpack
from fedloom.errors import StoreError
from fedloom.files import make_private_directory, write_durably
from fedloom.wire.records import Reply

BLOCK_BYTES = 4096
"""What a file takes at least."""

log = logging.getLogger(__name__)


class Recalled(NamedTuple):
    """An answer of an earlier process."""

    reply: Reply | None
    """None: the device had not answered in time."""


class Journal:
    """Of one run at a time."""

    def __init__(self, state: Path, max_bytes: int) -> None:
        """`max_bytes` is what its files may take."""
        self._directory = state / DIRECTORY
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._is_given_up = False
        self._run = b""
        self._requests: dict[int, int] = {}
        """By round, the size of those that are kept."""
        self._files: dict[tuple[bytes, bytes], deque[Path]] = defaultdict(deque)
        """Of each request and device, the rounds in which it was answered, oldest first."""
        self._read: tuple[Path, dict[bytes, Reply | None]] | None = None
        """The file that was read last: an app asks all devices at once."""

    def is_whole(self, store: Store) -> bool:
        """Whether the newest run was interrupted, and all that its app was told is here."""
        run = open_run(store)
        return run is not None and bool(run.rounds) and all(path.exists() for path in run.needed(self._directory))

    def open(self, run: bytes, open_round: int | None) -> bytes:
        """Make this run's answers ready, and forget other runs; returns the request of its open round, if one is.

        Raises:
            StoreError: the disk does not take it, or what it has is damaged.
        """
        self._run = run
        own = self._directory / run.hex()
        try:
            make_private_directory(self._directory)
            for other in self._directory.iterdir():
                if other != own:
                    shutil.rmtree(other, ignore_errors=True)  # `gc` may be at it, too
            make_private_directory(own)
            if open_round is not None:  # its answers are in the spool, and may still become more
                self._path(open_round, TOLD).unlink(missing_ok=True)
            self._requests = {int(path.stem): _taken(path.stat().st_size) for path in own.glob(f"*.{REQUEST}")}
            for path in sorted(own.glob(f"*.{TOLD}")):
                told = read_told(path)
                for device, _ in told.outcomes:
                    self._files[told.request, device].append(path)
            self._size_bytes = sum(_taken(path.stat().st_size) for path in own.iterdir())
            return unseal(self._path(open_round, REQUEST)) if open_round is not None else b""
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
            if entry.answered and not self._is_given_up:
                told = Told(entry.answered.request, entry.answered.outcomes)
                self._add(self._path(entry.answered.round, TOLD), msgpack.encode(told))
            if entry.request and not self._is_given_up:
                self._requests[entry.round] = self._add(self._path(entry.round, REQUEST), entry.request)
            # A round's own request stays until the next turn: this one may never be committed.
            oldest = entry.answered.round if entry.answered else entry.round
            for number in [each for each in self._requests if each < oldest]:
                self._size_bytes -= self._requests.pop(number)
                self._path(number, REQUEST).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self._directory}: cannot be written ({error.strerror})") from error

    def recall(self, request: bytes, device: bytes) -> Recalled | None:
        """What an earlier process was told by this device on this request (its SHA-256), for the first time first."""
        files = self._files.get((request, device))
        if not files or self._is_given_up:
            return None
        path = files.popleft()
        if self._read is None or self._read[0] != path:
            try:
                self._read = path, dict(read_told(path).outcomes)
            except FileNotFoundError:  # the aggregator's thread has given it up just now
                return None
        return Recalled(self._read[1][device])

    def _add(self, path: Path, content: bytes) -> int:
        """Write a file, or give all of them up; returns its size."""
        data = seal(content)
        size_bytes = _taken(len(data))
        self._size_bytes += size_bytes
        if self._size_bytes <= self._max_bytes:
            write_durably(path, data)
        else:
            self._give_up(path.parent)
        return size_bytes

    def _give_up(self, own: Path) -> None:
        log.warning(
            "journal.given_up run=%s bytes=%d retention.journal_bytes=%d: the run goes on, but not after a restart",
            self._run.hex(),
            self._size_bytes,
            self._max_bytes,
        )
        self._is_given_up = True
        shutil.rmtree(own)

    def _path(self, number: int, ending: str) -> Path:
        return path_of(self._directory, self._run, number, ending)


def _taken(size_bytes: int) -> int:
    """Of the disk."""
    return max(size_bytes, BLOCK_BYTES)
