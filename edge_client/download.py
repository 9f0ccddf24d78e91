"""The chunks of a model that have come so far, on disk: each at its own place in one file, known again by its hash.

Nothing is synced. What a power cut has swallowed does not have the hash that the manifest names, and is asked for
again.
"""

import os
from hashlib import sha256
from pathlib import Path

from fedloom.files import write_at
from fedloom.wire.chunks import Chunks


class Download:
    """One model at a time; an OSError means that the disk does not take it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, model: bytes, chunks: Chunks) -> tuple[int, ...]:
        """Remove what there is of other models; returns the numbers of the chunks that are not here."""
        self.drop(model)
        try:
            file = self._file(model).open("rb")
        except FileNotFoundError:
            return tuple(range(len(chunks.hashes)))
        with file:
            spans = (chunks.span(number) for number in range(len(chunks.hashes)))
            found = (os.pread(file.fileno(), size, start) for start, size in spans)
            pairs = enumerate(zip(found, chunks.hashes, strict=True))
            return tuple(number for number, (data, expected) in pairs if sha256(data).digest() != expected)

    def keep(self, model: bytes, start: int, payload: bytes) -> None:
        """Put a chunk where it belongs."""
        write_at(self._file(model), start, payload)

    def read(self, model: bytes) -> bytes:
        """The model; nothing where the disk has spoiled it."""
        data = self._file(model).read_bytes()
        return data if sha256(data).digest() == model else b""

    def drop(self, keep: bytes = b"") -> None:
        """Remove what there is of other models."""
        for path in self.path.iterdir():
            if path.name != keep.hex():
                path.unlink()

    def _file(self, model: bytes) -> Path:
        return self.path / model.hex()
