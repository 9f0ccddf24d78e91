"""Files that are not what they were: a typed error, and a place beside them where they are kept to be looked at."""

from pathlib import Path

from fedloom.errors import StoreError
from fedloom.quarantine import set_aside


class DamagedError(StoreError):
    """A file of the state directory is missing or altered; others may be enough to make it again."""


def quarantine(path: Path) -> str:
    """Put a damaged file out of the way, as NAME.damaged-N beside its place; says so, or that there is none.

    Raises:
        StoreError: it cannot be renamed.
    """
    try:
        return f"kept as {set_aside(path).name}"
    except FileNotFoundError:
        return "there is nothing to keep of it"
    except OSError as error:
        raise StoreError(f"{path}: cannot be set aside ({error.strerror}); check the disk") from error
