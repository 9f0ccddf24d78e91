"""Sets damaged files aside, beside their place, so that somebody can look at them."""

import re
from pathlib import Path

from fedloom.files import sync_directory

_ASIDE = re.compile(r"\.damaged-(\d+)$")


def is_aside(path: Path) -> bool:
    """Whether it was set aside."""
    return _ASIDE.search(path.name) is not None


def set_aside(path: Path, most: int | None = None) -> Path:
    """Rename a file to NAME.damaged-N, durably; N rises with each in that directory, in which `most` are kept.

    Raises:
        OSError: it cannot be renamed.
    """
    aside = sorted((each for each in path.parent.iterdir() if is_aside(each)), key=_number)
    for oldest in aside[: max(0, len(aside) + 1 - most)] if most else ():
        oldest.unlink()
    target = path.with_name(f"{path.name}.damaged-{_number(aside[-1]) + 1 if aside else 1}")
    path.rename(target)
    sync_directory(path.parent)
    return target


def _number(path: Path) -> int:
    found = _ASIDE.search(path.name)
    return int(found[1]) if found else 0
