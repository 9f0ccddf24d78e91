"""Reads a CSV or CSV.gz table block by block, so that a long file costs little more than the columns asked for."""

import csv
import gzip
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from fedloom.data.config import SourceConfig
from fedloom.data.table import (
    Alive,
    Labels,
    Numbers,
    Table,
    Wanted,
    name_in_file,
    nobody_watches,
    reading,
    too_large,
    too_long,
)
from fedloom.errors import CellError, DataError

if TYPE_CHECKING:
    from _csv import Reader

BLOCK_ROWS = 512
DELIMITERS = ",;\t|"
"""That people use."""
MAX_LINE = 1 << 20
"""Characters a line."""


class Block(NamedTuple):
    """Up to BLOCK_ROWS rows of cells, and the line on which each ends."""

    rows: list[list[str]]
    lines: list[int]


def read_csv(source: SourceConfig, wanted: Wanted, alive: Alive = nobody_watches) -> Table:
    """Read the wanted columns; the first line names the columns.

    Raises:
        DataError: the file cannot be read, is ragged, lacks a column, or holds a cell that is not a finite number.
    """
    try:
        with reading(source), _open(source) as stream:
            return _read(source, wanted, stream, alive)
    except UnicodeDecodeError as error:
        problem = f"is not text in UTF-8: {error.object[error.start]:#04x} is none of its bytes"
        raise DataError(source.path, "", problem, "save it as UTF-8 (in a spreadsheet: CSV UTF-8)") from None


def _open(source: SourceConfig) -> TextIO:
    opener = gzip.open if source.path.lower().endswith(".gz") else open
    return opener(source.path, "rt", encoding="utf-8-sig", newline="")


def _read(source: SourceConfig, wanted: Wanted, stream: TextIO, alive: Alive) -> Table:
    cells = csv.reader(_lines(source, stream), delimiter=source.delimiter, strict=True)
    try:
        header = [name.strip() for name in next(cells, [])]
        _check_header(source, header, wanted)
        at = {name: header.index(name_in_file(source, name, header)) for name in (*wanted.numbers, *wanted.labels)}
        numbers: dict[str, list[Numbers]] = {name: [] for name in wanted.numbers}
        labels: dict[str, list[Labels]] = {name: [] for name in wanted.labels}
        lines: list[NDArray[np.int64]] = []
        for block in _blocks(source, cells, len(header)):
            alive()
            columns = list(zip(*block.rows, strict=True))
            for name in wanted.numbers:
                numbers[name].append(_to_numbers(source, name, columns[at[name]], block.lines))
            for name in wanted.labels:
                labels[name].append(np.array([cell.strip() for cell in columns[at[name]]]))
            lines.append(np.array(block.lines, np.int64))
    except csv.Error as error:
        raise DataError(source.path, f"line {cells.line_num}", str(error), "correct the quotes in that line") from None
    if not lines:
        raise DataError(source.path, "", "has no rows below its header", "give it at least one sample")
    return Table(
        {name: np.concatenate(parts) for name, parts in numbers.items()},
        {name: np.concatenate(parts) for name, parts in labels.items()},
        np.concatenate(lines),
    )


def _lines(source: SourceConfig, stream: TextIO) -> Iterator[str]:
    """The lines of the file, each bounded and all together bounded, whatever a .gz inflates to."""
    total = 0
    while line := stream.readline(MAX_LINE):
        total += len(line)
        if total > source.max_bytes:
            raise too_large(source)
        if len(line) == MAX_LINE:
            problem = f"a line has more than {MAX_LINE} characters"
            raise DataError(source.path, "", problem, "check that it is a text table")
        yield line


def _check_header(source: SourceConfig, header: list[str], wanted: Wanted) -> None:
    if not header:
        raise DataError(source.path, "", "is empty", "its first line must name the columns")
    asked = [source.columns.get(name, name) for name in (*wanted.numbers, *wanted.labels)]
    if len(header) == 1 and header[0] not in asked and any(mark in header[0] for mark in DELIMITERS):
        problem = f"is one column, {header[0]!r}: its cells are not parted by {source.delimiter!r}"
        raise DataError(source.path, "line 1", problem, "write it with commas, or set `delimiter` of a device's [data]")
    for name in header:
        if header.count(name) > 1:
            problem = f"{header.count(name)} columns are called so"
            raise DataError(source.path, f"line 1, {name!r}", problem, "give each column a name of its own")


def _blocks(source: SourceConfig, cells: "Reader", width: int) -> Iterator[Block]:
    """The rows below the header, blank lines left out, in blocks; every row has `width` cells."""
    total, block = 0, Block([], [])
    for row in cells:
        if not row:
            continue
        if len(row) != width:
            problem = f"{len(row)} cells where the header has {width}"
            raise DataError(source.path, f"line {cells.line_num}", problem, "complete or remove that line")
        block.rows.append(row)
        block.lines.append(cells.line_num)
        if len(block.rows) == BLOCK_ROWS:
            total += BLOCK_ROWS
            yield block
            block = Block([], [])
        if total + len(block.rows) > source.max_rows:
            raise too_long(source)
    if block.rows:
        yield block


def _to_numbers(source: SourceConfig, name: str, cells: tuple[str, ...], lines: list[int]) -> Numbers:
    try:
        column = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        raise _bad_cell(source, name, cells, lines) from None
    if not (np.abs(column) <= np.finfo(np.float32).max).all():
        raise _bad_cell(source, name, cells, lines)
    return column.astype(np.float32)


def _bad_cell(source: SourceConfig, name: str, cells: tuple[str, ...], lines: list[int]) -> DataError:
    """Name the first cell that is not a finite number; called only when there is one."""
    row = next(row for row, cell in enumerate(cells) if not _is_finite(cell))
    problem = f"{cells[row]!r} is not a finite number"
    return CellError(source.path, f"line {lines[row]}, column {name!r}", problem, "correct it or remove that line")


def _is_finite(cell: str) -> bool:
    try:
        return abs(float(cell)) <= float(np.finfo(np.float32).max)
    except ValueError:
        return False
