"""Samples in a file or folder beside the job; large float32 arrays in .npy files are mapped: they need no memory.

What is mapped is not looked through for values that are not finite: reading it all is what mapping saves. In an NPZ
arrays begin anywhere, and numpy copies the whole of one that is not aligned before it takes a row.
"""

from pathlib import Path

import numpy as np

from fedloom.data.config import SourceConfig
from fedloom.data.npz_source import check_plain, read_header, to_labels, to_numbers
from fedloom.data.prepare import ENDINGS, reader_of
from fedloom.data.table import Labels, Table, Wanted, name_in_file, nobody_watches
from fedloom.errors import DataError
from simulation.population.mapped import map_npy
from simulation.population.parquet import read_parquet

PARQUET = ".parquet"
MAPPED_BYTES = 1 << 26
"""From this size on an array is mapped."""
_MAX = 1 << 40
"""Rows and bytes: a pool is as large as its disk."""


def source_of(path: Path) -> SourceConfig:
    """What reads `path`, with the bounds of a simulation."""
    return SourceConfig(str(path), max_rows=_MAX, max_bytes=_MAX)


def read(source: SourceConfig, wanted: Wanted) -> Table:
    """The wanted columns of a table or of named arrays.

    Raises:
        DataError: it cannot be read, or lacks a column.
    """
    path = Path(source.path)
    if path.is_dir():
        return _read_folder(source, path, wanted)
    if path.name.lower().endswith(PARQUET):
        return read_parquet(source, wanted)
    if not path.name.lower().endswith(tuple(ENDINGS)):
        problem = f"has none of the endings {', '.join((*ENDINGS, PARQUET))}"
        raise DataError(source.path, "", problem, "rename it, or write it in one of these forms")
    return reader_of(source)(source, wanted, nobody_watches)


def _read_folder(source: SourceConfig, folder: Path, wanted: Wanted) -> Table:
    """A file NAME.npy for each array."""
    present = [path.stem for path in folder.glob("*.npy")]
    numbers, labels = {}, {}
    for name in wanted.numbers:
        path = folder / f"{name_in_file(source, name, present)}.npy"
        array = _open_npy(source, path)
        mapped = map_npy(path) if array.nbytes >= MAPPED_BYTES else None
        numbers[name] = to_numbers(source, name, array) if mapped is None else mapped
    for name in wanted.labels:
        labels[name] = to_labels(source, name, _open_npy(source, folder / f"{name_in_file(source, name, present)}.npy"))
    return _agreeing(source, Table(numbers, labels, None))


def _open_npy(source: SourceConfig, path: Path) -> Labels:
    try:
        with path.open("rb") as stream:
            check_plain(source, path.name, read_header(stream)[2])
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, EOFError, ValueError) as error:
        raise DataError(source.path, path.name, f"cannot be read ({error})", "write it with numpy.save") from None
    if array.ndim == 0:
        raise DataError(source.path, path.name, "is a single value", "give it one row a sample")
    return array


def _agreeing(source: SourceConfig, table: Table) -> Table:
    """The same table.

    Raises:
        DataError: its arrays do not all have the same number of rows, or none.
    """
    rows = {name: len(array) for name, array in (table.numbers | table.labels).items()}
    if len(set(rows.values())) > 1 or 0 in rows.values():
        problem = f"has arrays of {', '.join(f'{count:,} ({name})' for name, count in rows.items())} rows"
        raise DataError(source.path, "", problem, "give every array the same number of rows, one at least")
    return table
