"""What a backup holds: `backup.json`, written last. A directory without it is no backup."""

import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import msgspec

from aggregator.copying import digest_of
from aggregator.store import DATABASE
from fedloom.errors import StoreError

FILE = "backup.json"
FORMAT = 1
DIRECTORIES = ("models", "spool", "exchange", "keys")
"""Of the state directory; restored in this order, since a state without keys is none."""

Tell = Callable[[str, int, int, int, int], None]
"""Progress: what is done, files done, files in all, bytes done, bytes in all."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file."""

    size: int
    """Bytes."""
    sha256: str


class Inventory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a backup."""

    format: int
    federation: str
    made_at: str
    """UTC."""
    manifest_version: int
    """Of the newest round in it."""
    files: dict[str, Entry]
    """By path below the backup's directory, with slashes."""

    @property
    def size_bytes(self) -> int:
        return sum(entry.size for entry in self.files.values())


def read_inventory(directory: Path) -> Inventory:
    """What a backup says that it holds.

    Raises:
        StoreError: it is no backup, an incomplete one, or of another version.
    """
    path = directory / FILE
    try:
        inventory = msgspec.json.decode(path.read_bytes(), type=Inventory)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{path}: is missing, so this is no complete backup; choose another one") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); run as the user that owns it") from None
    except msgspec.MsgspecError as error:
        raise StoreError(f"{path}: is damaged ({error}); choose another backup") from None
    if inventory.format != FORMAT:
        raise StoreError(f"{path}: format {inventory.format}, this software reads {FORMAT}; use the one that wrote it")
    wrong = next((name for name in inventory.files if not _is_ours(name)), None)
    if wrong is not None or DATABASE not in inventory.files:
        raise StoreError(f"{path}: is damaged (it lists {wrong!r}, or no database); choose another backup")
    return inventory


def verified(directory: Path, tell: Tell) -> Inventory:
    """What a backup holds, every byte of it compared with its checksum.

    Raises:
        StoreError: something is missing or altered.
    """
    inventory, done, done_bytes = read_inventory(directory), 0, 0
    for name, entry in inventory.files.items():
        path = directory / name
        try:
            status = path.lstat()
            is_right = stat.S_ISREG(status.st_mode) and status.st_size == entry.size
            is_right = is_right and digest_of(path).hex() == entry.sha256
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error.strerror}); choose another backup") from None
        if not is_right:
            raise StoreError(f"{path}: is not what was backed up (SHA-256); choose another backup")
        done, done_bytes = done + 1, done_bytes + entry.size
        tell("verified", done, len(inventory.files), done_bytes, inventory.size_bytes)
    return inventory


def _is_ours(name: str) -> bool:
    parts = PurePosixPath(name).parts
    is_plain = bool(parts) and ".." not in parts and "/".join(parts) == name
    return name == DATABASE or (is_plain and len(parts) > 1 and parts[0] in DIRECTORIES)
