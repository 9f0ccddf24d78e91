"""Data sets by name, and those that are a file or a folder beside the job."""

from pathlib import Path
from typing import NamedTuple

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import ENDINGS, reader_of
from fedloom.data.table import Table, Wanted, nobody_watches
from fedloom.errors import ConfigError
from fedloom.suggest import closest
from simulation.population import bundled

NAMES = bundled.NAMES
_FIELD = "simulation.dataset"


class Opened(NamedTuple):
    """A data set, read."""

    source: SourceConfig
    """What errors name."""
    table: Table
    test: Table | None
    """The part that the data set itself keeps apart."""


def open_dataset(name: str, wanted: Wanted, where: Path) -> Opened:
    """The columns `wanted` of a data set that the job in file `where` names.

    Raises:
        ConfigError: there is no such data set.
        DataError: it cannot be read, or lacks a column.
    """
    if name in bundled.NAMES:
        return Opened(SourceConfig(name), bundled.load(name), None)
    path = where.parent / name
    if not path.is_file():
        close = closest(name, NAMES)
        hint = f"did you mean {close!r}? " if close else ""
        remedy = f"{hint}data sets are {', '.join(NAMES)}, or a file beside the job ({', '.join(ENDINGS)})"
        raise ConfigError(str(where), _FIELD, f"there is neither a data set nor a file {name!r}", remedy)
    source = SourceConfig(str(path), max_rows=1 << 40, max_bytes=1 << 40)
    return Opened(source, reader_of(source)(source, wanted, nobody_watches), None)
