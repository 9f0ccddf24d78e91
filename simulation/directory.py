"""Where a run leaves what it leaves; what cannot be written there is known before the work."""

import os
import tempfile
import time
from pathlib import Path

from fedloom.errors import InputError

RUNS = Path("runs")
"""Where a run is left if nothing else is said."""


def new_directory(wanted: Path | None, name: str) -> Path:
    """An empty directory for a run: the one that was asked for, or a new one below RUNS.

    Raises:
        InputError: see `check_new`.
    """
    check_new(wanted)
    if wanted is None:
        RUNS.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-", dir=RUNS))
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted


def check_new(wanted: Path | None) -> None:
    """Refuse what `new_directory` could not make; nothing is made.

    Raises:
        InputError: there is something in it already, or nothing can be written there.
    """
    if wanted and wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise InputError(str(wanted), "--out", "is not an empty directory", "choose another or remove it")
    check_folder(wanted or RUNS, "--out")


def check_folder(folder: Path, field: str) -> None:
    """Refuse a folder that nothing can be written in, or that cannot be made; `field` asked for it.

    Raises:
        InputError: names what is in the way.
    """
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        raise InputError(str(folder), field, f"{nearest} is a file, not a folder", "choose another folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        problem = f"you may write nothing in {nearest}"
        raise InputError(str(folder), field, problem, "choose another folder, or change its permissions")


def check_file(path: Path, field: str) -> None:
    """Refuse a file that cannot be written; `field` asked for it.

    Raises:
        InputError: its folder is missing, or nothing can be written there.
    """
    if path.is_dir():
        raise InputError(str(path), field, "is a folder", "name a file in it")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(str(path), field, "you may not write this file", "choose another, or change its permissions")
    if not path.parent.exists():
        raise InputError(str(path), field, f"there is no folder {path.parent}", f"run: mkdir -p {path.parent}")
    if not path.exists():
        check_folder(path, field)
