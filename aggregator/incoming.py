"""Large updates that have not come whole yet, on disk: a file a transfer, with a slot for each frame.

    {round}-{topic}-{transfer}-{count}-{length}

    slot  16   the first bytes of SHA-256(index ‖ slice)
          …    slice

A slot that holds what its hash says is there, any other is not. So nothing has to be synced: what a power cut has
swallowed, whole or in part, is asked for again.
"""

import os
import re
from hashlib import sha256
from pathlib import Path

from fedloom.errors import StoreError
from fedloom.files import make_private_directory, write_at
from fedloom.wire.chunks import Transfer

_HASH_BYTES = 16
_NAME = re.compile(r"(?P<source>.+)-(?P<id>[0-9a-f]{32})-(?P<count>\d{1,5})-(?P<total>\d{1,10})\Z")


class Incoming:
    """The transfers of one round: those of any other are removed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._round = ""

    def open(self, name: str) -> None:
        """Begin, or go on with, the round of this name.

        Raises:
            StoreError: the directory cannot be used.
        """
        try:
            make_private_directory(self._directory)
            for path in self._directory.iterdir():
                if not path.name.startswith(f"{name}-"):
                    path.unlink()
        except OSError as error:
            raise _failed(self._directory, error) from None
        self._round = name

    def slots(self, source: str, transfer: Transfer) -> "FileSlots":
        """Where the slices of a transfer lie."""
        name = f"{self._round}-{source.replace('/', '+')}-{transfer.id.hex()}-{transfer.frames}-{transfer.total}"
        return FileSlots(self._directory / name, transfer)

    def left(self) -> list[tuple[str, Transfer]]:
        """The transfers of this round of which an earlier process has left something."""
        prefix, found = f"{self._round}-", []
        for path in sorted(self._directory.glob(f"{prefix}*")):
            if match := _NAME.match(path.name.removeprefix(prefix)):
                transfer = Transfer(bytes.fromhex(match["id"]), int(match["count"]), int(match["total"]))
                found.append((match["source"].replace("+", "/"), transfer))
        return found


class FileSlots:
    """The slices of one transfer."""

    def __init__(self, path: Path, transfer: Transfer) -> None:
        self._path = path
        self._transfer = transfer

    def found(self) -> list[int]:
        """Those whose hashes fit."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _failed(self._path, error) from None
        with file:
            return [each for each in range(self._transfer.frames) if self._read(file.fileno(), each)]

    def put(self, index: int, piece: bytes) -> None:
        """Keep a slice; not synced.

        Raises:
            StoreError: the disk does not take it.
        """
        try:
            write_at(self._path, self._at(index), _hash(index, piece) + piece)
        except OSError as error:
            raise _failed(self._path, error) from None

    def whole(self) -> bytes:
        """All slices, in their order; one that the disk has spoiled is missing, and the hash of all will not fit."""
        try:
            with self._path.open("rb") as file:
                return b"".join(self._read(file.fileno(), each) for each in range(self._transfer.frames))
        except OSError as error:
            raise _failed(self._path, error) from None

    def drop(self) -> None:
        """Forget them all."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise _failed(self._path, error) from None

    def _read(self, descriptor: int, index: int) -> bytes:
        """A slice, or nothing."""
        _, size = self._transfer.span(index)
        data = os.pread(descriptor, _HASH_BYTES + size, self._at(index))
        piece = data[_HASH_BYTES:]
        return piece if data[:_HASH_BYTES] == _hash(index, piece) else b""

    def _at(self, index: int) -> int:
        return index * (_HASH_BYTES + self._transfer.slice_bytes)


def _hash(index: int, piece: bytes) -> bytes:
    return sha256(index.to_bytes(4, "big") + piece).digest()[:_HASH_BYTES]


def _failed(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path}: cannot be used ({error.strerror}); free or repair the disk and start again")
