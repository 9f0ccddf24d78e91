"""Samples in a file or folder beside the job; large float32 arrays are mapped, so that they need no memory.

What is mapped is not looked through for values that are not finite: reading it all is what mapping saves.
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from fedloom.data.config import SourceConfig
from fedloom.data.npz_source import read_npz, to_labels, to_numbers
from fedloom.data.prepare import reader_of
from fedloom.data.table import Labels, Numbers, Table, Wanted, name_in_file, nobody_watches, reading
from fedloom.errors import DataError
from simulation.population.parquet import read_parquet

PARQUET = ".parquet"
MAPPED_BYTES = 1 << 26
"""From this size on an array is mapped."""
_MAX = 1 << 40
"""Rows and bytes: a pool is as large as its disk."""
_LOCAL_HEADER = 30
"""Bytes of a ZIP entry before its name (APPNOTE 4.3.7)."""


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
    if path.name.lower().endswith(".npz"):
        return _read_npz(source, wanted)
    return reader_of(source)(source, wanted, nobody_watches)


def _read_npz(source: SourceConfig, wanted: Wanted) -> Table:
    """What is stored without compression and large is mapped; the rest is read."""
    with reading(source, zipfile.BadZipFile, ValueError), zipfile.ZipFile(source.path) as archive:
        mapped = _map_entries(source, wanted.numbers, archive)
    rest = Wanted(tuple(name for name in wanted.numbers if name not in mapped), wanted.labels)
    if not mapped:
        return read_npz(source, rest)
    table = read_npz(source, rest) if rest.numbers or rest.labels else Table({}, {}, None)
    return _agreeing(source, Table(mapped | table.numbers, table.labels, None))


def _map_entries(source: SourceConfig, names: tuple[str, ...], archive: zipfile.ZipFile) -> dict[str, Numbers]:
    mapped, entries = {}, {entry.filename: entry for entry in archive.infolist()}
    for name in names:
        entry = entries.get(f"{source.columns.get(name, name)}.npy")
        if entry and entry.compress_type == zipfile.ZIP_STORED and entry.file_size >= MAPPED_BYTES:
            array = _map_entry(Path(source.path), entry)
            if array is not None:
                mapped[name] = array
    return mapped


def _map_entry(path: Path, entry: zipfile.ZipInfo) -> Numbers | None:
    """The array of an entry that is stored as it is; None where it is of another type or order."""
    with path.open("rb") as stream:
        stream.seek(entry.header_offset + _LOCAL_HEADER - 4)
        name_bytes, extra_bytes = np.frombuffer(stream.read(4), "<u2").tolist()
        stream.seek(name_bytes + extra_bytes, 1)
        begin = stream.tell()
        version = npy.read_magic(stream)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read_header(stream)
        offset = stream.tell()
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if dtype != np.dtype(np.float32) or is_fortran or len(shape) != 2 or offset - begin + size != entry.file_size:
        return None
    return np.asarray(np.memmap(path, np.float32, "r", offset, shape))


def _read_folder(source: SourceConfig, folder: Path, wanted: Wanted) -> Table:
    """A file NAME.npy for each array."""
    present = [path.stem for path in folder.glob("*.npy")]
    numbers, labels = {}, {}
    for name in wanted.numbers:
        array = _open_npy(source, folder / f"{name_in_file(source, name, present)}.npy")
        is_mapped = array.dtype == np.float32 and array.ndim == 2 and array.flags.c_contiguous
        numbers[name] = array if is_mapped and array.nbytes >= MAPPED_BYTES else to_numbers(source, name, array)
    for name in wanted.labels:
        labels[name] = to_labels(source, name, _open_npy(source, folder / f"{name_in_file(source, name, present)}.npy"))
    return _agreeing(source, Table(numbers, labels, None))


def _open_npy(source: SourceConfig, path: Path) -> Labels:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, EOFError, ValueError) as error:
        raise DataError(source.path, path.name, f"cannot be read ({error})", "write it with numpy.save") from None


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
