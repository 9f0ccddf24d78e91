"""Where a run leaves what it leaves."""

import tempfile
import time
from pathlib import Path

from fedloom.errors import InputError


def new_directory(wanted: Path | None, name: str) -> Path:
    """An empty directory for a run: the one that was asked for, or a new one below runs/.

    Raises:
        InputError: there is something in it already.
    """
    if wanted is None:
        Path("runs").mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-", dir="runs"))
    if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise InputError(str(wanted), "--out", "is not an empty directory", "choose another or remove it")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted
