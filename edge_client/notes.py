"""A moment noted for people in a file of the state directory; nothing depends on it."""

from pathlib import Path

from fedloom.errors import StoreError
from fedloom.files import write_durably


class Note:
    """Seconds since 1970, by this device's clock; there is a file only while there is something to say."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, at_s: float | None) -> None:
        """Note a moment; None takes the note away."""
        if at_s is None:
            self._path.unlink(missing_ok=True)
        else:
            write_durably(self._path, b"%d\n" % at_s)

    def read(self) -> int | None:
        """What was noted; None also where that is no number any more.

        Raises:
            StoreError: the note cannot be read.
        """
        try:
            text = self._path.read_bytes().strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be read ({error.strerror}); check its owner") from None
        return int(text) if text.lstrip(b"-").isdigit() else None
