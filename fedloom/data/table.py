"""What a reader hands over: the columns that a job asked for, checked, by the job's names."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.data.config import SourceConfig
from fedloom.errors import DataError
from fedloom.suggest import closest

Numbers = NDArray[np.float32]
"""(n,) or (n, k) float32, finite."""
Labels = NDArray[Any]
"""(n,) of text or of what the file holds; used only to compare and to print."""


class Wanted(NamedTuple):
    """Which columns a job needs, and as what."""

    numbers: tuple[str, ...]
    labels: tuple[str, ...]


class Table(NamedTuple):
    """n rows of a file, by the job's names of the columns."""

    numbers: dict[str, Numbers]
    labels: dict[str, Labels]
    lines: NDArray[np.int64] | None
    """(n,) the line of the file on which each row ends; None where a file has no lines."""

    def place(self, row: int) -> str:
        """How to name a row (from 0) to a person."""
        return f"row {row}" if self.lines is None else f"line {self.lines[row]}"


Alive = Callable[[], None]
"""Called again and again during what may take longer than a watchdog's patience."""
Reader = Callable[[SourceConfig, Wanted, Alive], Table]
"""Reads one kind of source. Raises DataError."""


def nobody_watches() -> None:
    """An `Alive` for where there is no watchdog."""


def name_in_file(source: SourceConfig, wanted: str, present: Iterable[str]) -> str:
    """What the file calls the job's column `wanted`.

    Raises:
        DataError: it is not there.
    """
    name, names = source.columns.get(wanted, wanted), list(present)
    if name in names:
        return name
    close = closest(name, names)
    hint = f"did you mean {close!r}? " if close else ""
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    remedy = f"{hint}correct the name in the job, or map it with `columns` of a device's [data]"
    raise DataError(source.path, wanted, f"the file has no {name!r}, only {shown or 'no columns'}", remedy)


@contextmanager
def reading(source: SourceConfig, *decoder_errors: type[Exception]) -> Iterator[None]:
    """While the file is open: what the operating system or a decoder cannot give us becomes one line.

    Raises:
        DataError: there is no such file, it cannot be read, or is not complete.
    """
    unreadable: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, *decoder_errors)
    try:
        yield
    except FileNotFoundError:
        raise DataError(source.path, "", "there is no such file", "check the path") from None
    except IsADirectoryError:
        raise DataError(source.path, "", "is a folder, not a file", "name a file in it") from None
    except unreadable as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        remedy = "check its permissions and that it is complete"
        raise DataError(source.path, "", f"cannot be read ({why})", remedy) from None


def too_long(source: SourceConfig) -> DataError:
    """More rows than allowed."""
    return DataError(source.path, "", f"has more than {source.max_rows} rows", "split it or raise max_rows")


def too_large(source: SourceConfig) -> DataError:
    """More bytes than allowed, after inflation."""
    problem = f"holds more than {source.max_bytes} bytes"
    return DataError(source.path, "", problem, "split it or raise max_bytes")
