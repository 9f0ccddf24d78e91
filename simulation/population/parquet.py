"""Reads columns of a Parquet file, with pyarrow where that is installed."""

import numpy as np

from fedloom.data.config import SourceConfig
from fedloom.data.npz_source import to_labels, to_numbers
from fedloom.data.table import Table, Wanted, name_in_file, reading
from fedloom.errors import DataError


def read_parquet(source: SourceConfig, wanted: Wanted) -> Table:
    """The wanted columns; no cell may be null.

    Raises:
        DataError: pyarrow is not installed, the file cannot be read, lacks a column, or holds a null or a NaN.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError:
        remedy = "run: pip install 'fedloom[parquet]'"
        raise DataError(source.path, "", "is a Parquet file, and pyarrow is not installed", remedy) from None
    with reading(source, pyarrow.ArrowException), ParquetFile(source.path) as file:
        present = file.schema_arrow.names
        names = {name: name_in_file(source, name, present) for name in (*wanted.numbers, *wanted.labels)}
        columns = file.read(columns=sorted(set(names.values())))
        cells = {name: columns[name].to_numpy() for name in columns.column_names}
        nulls = [name for name in columns.column_names if columns[name].null_count]
    if nulls:
        raise DataError(source.path, nulls[0], "has cells without a value", "fill or remove those rows")
    if not columns.num_rows:
        raise DataError(source.path, "", "has no rows", "give it at least one sample")
    numbers = {name: to_numbers(source, name, cells[names[name]]) for name in wanted.numbers}
    return Table(numbers, {name: to_labels(source, name, _text(cells[names[name]])) for name in wanted.labels}, None)


def _text(column: np.ndarray) -> np.ndarray:
    """Text as numpy's own, of which `to_labels` wants it."""
    return column.astype(np.str_) if column.dtype.hasobject else column
