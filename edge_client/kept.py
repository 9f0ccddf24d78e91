"""Vectors that a device keeps beside an update, each in a file that is named by the update and notices damage."""

import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from edge_client.state import sealed, unsealed
from fedloom.errors import StoreError
from fedloom.files import write_durably
from fedloom.quarantine import is_aside, set_aside

ASIDE = "it is set aside when the device starts"
MAX_ASIDE = 3
"""Damaged files that are kept in each directory; the oldest go."""

log = logging.getLogger("fedloom.edge")


class Damaged(NamedTuple):
    """A file without which the device goes on."""

    path: Path
    reason: str


def put_aside(damaged: Damaged) -> Path:
    """Rename it, if it is there, and say so; returns where it was."""
    kept = set_aside(damaged.path, MAX_ASIDE) if damaged.path.exists() else None
    log.warning("state.damaged reason=%r kept=%s", damaged.reason, kept)
    return damaged.path


class KeptVectors:
    """One kind of them: PATH/{digest of the update}, as float32 numbers."""

    def __init__(self, path: Path, magic: bytes) -> None:
        self.path = path
        self._magic = magic

    def file(self, update: bytes) -> Path:
        """Where the vector of an update is."""
        return self.path / update.hex()

    def write(self, update: bytes, vector: bytes) -> None:
        """Make a vector durable."""
        write_durably(self.file(update), sealed(self._magic, vector))

    def read(self, update: bytes) -> bytes:
        """The vector of an update; empty, with a warning, where it is missing or damaged."""
        for found in self.damaged((update,)):
            put_aside(found)
            return b""
        return unsealed(self._magic, self.file(update).read_bytes(), self.file(update), ASIDE)

    def damaged(self, updates: Iterable[bytes]) -> list[Damaged]:
        """Of the vectors of these updates, those that are not there as they were written; of no update is none."""
        return [found for update in updates if update and (found := self._look(update))]

    def keep(self, waiting: Collection[str], updates: Iterable[bytes]) -> None:
        """Remove all but what is damaged and what goes with these updates, the first given by the names of files."""
        named = {*waiting, *(update.hex() for update in updates)}
        for path in self.path.iterdir() if self.path.is_dir() else ():
            if path.name not in named and not is_aside(path):
                path.unlink()

    def _look(self, update: bytes) -> Damaged | None:
        path = self.file(update)
        try:
            unsealed(self._magic, path.read_bytes(), path, ASIDE)
        except FileNotFoundError:
            return Damaged(path, f"{path}: is missing")
        except StoreError as error:
            return Damaged(path, str(error))
        return None
