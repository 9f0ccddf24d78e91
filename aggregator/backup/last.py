"""Where the newest backup of a state directory is: told beside the database, for when that cannot be read any more."""

from pathlib import Path

import msgspec

from fedloom.files import write_durably

FILE = "last-backup.json"


class LastBackup(msgspec.Struct, frozen=True):
    """The newest one that was completed."""

    directory: str
    made_at: str
    """UTC, for people."""


def remember(state: Path, backup: LastBackup) -> None:
    """Note a backup that is complete."""
    write_durably(state / FILE, msgspec.json.encode(backup))


def remedy(state: Path) -> str:
    """What to do when the state is damaged, in a few words."""
    try:
        last = msgspec.json.decode((state / FILE).read_bytes(), type=LastBackup)
    except (OSError, msgspec.MsgspecError):
        return "move the state directory away, and run: fedloom aggregator restore BACKUP"
    directory, made_at = last.directory, last.made_at
    return f"move the state directory away, and run: fedloom aggregator restore {directory} (the backup of {made_at})"
