"""From a file to samples ready for training: read, label, hold out, cut into windows, summarise.

Features are not standardised here: mean and deviation are learnt over all devices and become the model's input layer.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.data.config import SourceConfig
from fedloom.data.csv_source import read_csv
from fedloom.data.motion import summarise
from fedloom.data.npz_source import read_npz
from fedloom.data.table import Alive, Labels, Reader, Table, Wanted, nobody_watches
from fedloom.data.window import Spans, Target, recordings, window_starts, window_targets
from fedloom.errors import CellError, DataError
from fedloom.job.data import Data, Holdout, Window
from fedloom.learning.dataset import Dataset

READERS: dict[str, Reader] = {"csv": read_csv, "npz": read_npz}
"""The kinds of source that a device can read; a sensor's reader is one more entry."""
REGRESSION = ("mse", "huber")
"""The losses whose targets are numbers, not classes."""
ENDINGS = {".csv": "csv", ".csv.gz": "csv", ".npz": "npz"}


class Prepared(NamedTuple):
    """What a device trains on, and what it keeps for evaluation."""

    train: Dataset
    holdout: Dataset


def prepare(source: SourceConfig, data: Data, loss: str, seed: int, alive: Alive = nobody_watches) -> Prepared:
    """Read `source` as a job's `data` asks; `seed` draws a random hold-out, and `alive` feeds a watchdog.

    Raises:
        DataError: the file cannot be read, does not hold what the job needs, or gives no training sample.
    """
    return prepare_table(source, reader_of(source)(source, wanted(data, loss), alive), data, loss, seed, alive)


def prepare_table(
    source: SourceConfig, table: Table, data: Data, loss: str, seed: int, alive: Alive = nobody_watches
) -> Prepared:
    """The same of what is in memory already; errors name `source`.

    Raises:
        DataError: it does not hold what the job needs, or gives no training sample.
    """
    x, y = samples(source, table, data, loss)
    spans = recordings(tuple(table.labels[name] for name in data.groups), len(x))
    if data.holdout.by == "tail":
        train, held = _split_tail(spans, data.holdout.fraction)
    else:
        train, held = _split_random(source, spans, data, seed)
    prepared = Prepared(*(_dataset(x, y, each, data, alive) for each in (train, held)))
    if prepared.train.samples == 0:
        raise _too_few(source, spans, data.window, data.holdout)
    return prepared


def check_width(source: SourceConfig, prepared: Prepared, inputs: int) -> None:
    """Compare what the file gives with what the model takes.

    Raises:
        DataError: the numbers differ.
    """
    width = prepared.train.x.shape[1]
    if width != inputs:
        problem = f"a sample has {width} features, but the model takes {inputs}"
        raise DataError(source.path, "features", problem, "make data.features and model.inputs of the job agree")


def wanted(data: Data, loss: str) -> Wanted:
    """The columns that a job's `data` names."""
    regression = loss in REGRESSION
    numbers = (*data.features, data.target) if regression else data.features
    labels = data.groups if regression else (data.target, *data.groups)
    return Wanted(numbers, tuple(dict.fromkeys(labels)))  # the target may be a group, too


def reader_of(source: SourceConfig) -> Reader:
    """What reads `source`, by its kind or by the ending of its name.

    Raises:
        DataError: the ending is none of ENDINGS.
    """
    if source.kind != "auto":
        return READERS[source.kind]
    for ending, kind in ENDINGS.items():
        if source.path.lower().endswith(ending):
            return READERS[kind]
    problem = f"has none of the endings {', '.join(ENDINGS)}"
    raise DataError(source.path, "", problem, f"rename it or set data.kind to one of {', '.join(READERS)}")


def samples(source: SourceConfig, table: Table, data: Data, loss: str) -> Dataset:
    """Every row of `table` as a sample: nothing held out, no windows cut.

    Raises:
        DataError: a label is none of the job's classes.
    """
    y = _numbers(table, data) if loss in REGRESSION else _class_numbers(source, table, data)
    return Dataset(_matrix(source, table, data), y)


def _matrix(source: SourceConfig, table: Table, data: Data) -> NDArray[np.float32]:
    """(n, d): the features side by side, in the job's order."""
    columns = [table.numbers[name] for name in data.features]
    for name, column in zip(data.features, columns, strict=True):
        if data.window and column.ndim != 1:
            problem = f"has shape {column.shape}, but windows are cut from one number a row"
            raise DataError(source.path, name, problem, "store each channel as an array of its own")
    if len(columns) == 1 and columns[0].ndim == 2 and columns[0].flags.c_contiguous:
        return columns[0]  # and not a copy: it may be a file of many gigabytes
    return np.ascontiguousarray(np.column_stack(columns), np.float32)


def _numbers(table: Table, data: Data) -> NDArray[np.float32]:
    target = table.numbers[data.target]
    return target.reshape(len(target), -1)


def _class_numbers(source: SourceConfig, table: Table, data: Data) -> NDArray[np.int64]:
    """Each row's label as its place in `data.classes`."""
    labels: Labels = table.labels[data.target]
    present, inverse = np.unique(labels, return_inverse=True)
    places = {name: place for place, name in enumerate(data.classes)}
    numbers = np.array([places.get(str(value), -1) for value in present.tolist()], np.int64)[inverse]
    if (unknown := np.flatnonzero(numbers < 0)).size:
        row = int(unknown[0])
        problem = f"{str(labels[row])!r} is none of the job's classes {', '.join(data.classes)}"
        field = f"{table.place(row)}, column {data.target!r}"
        raise CellError(source.path, field, problem, "correct the label or data.classes of the job")
    return numbers


def _split_tail(spans: Spans, fraction: float) -> tuple[Spans, Spans]:
    """The last `fraction` of every recording, rounded down, is held out."""
    lengths = spans[:, 1] - spans[:, 0]
    cuts = spans[:, 1] - (lengths * fraction).astype(np.int64)
    return np.stack((spans[:, 0], cuts), axis=1), np.stack((cuts, spans[:, 1]), axis=1)


def _split_random(source: SourceConfig, spans: Spans, data: Data, seed: int) -> tuple[Spans, Spans]:
    """A seeded share is held out: whole recordings where there are groups or windows, single rows otherwise."""
    if data.groups or data.window:
        units = spans
    else:
        rows = np.arange(spans[-1, 1])
        units = np.stack((rows, rows + 1), axis=1)
    if data.window and len(units) == 1 and data.holdout.fraction > 0.0:
        problem = "there is one recording only, so none can be held out at random"
        raise DataError(source.path, "holdout.by", problem, "name data.groups or hold out by 'tail' in the job")
    order = np.random.default_rng(seed).permutation(len(units))
    count = round(len(units) * data.holdout.fraction)
    return units[np.sort(order[count:])], units[np.sort(order[:count])]


def _dataset(x: NDArray[np.float32], y: Target, spans: Spans, data: Data, alive: Alive) -> Dataset:
    """The rows in `spans`, or the windows that fit into them."""
    if data.window is None:
        inside = np.zeros(len(x) + 1, np.int64)
        np.add.at(inside, spans[:, 0], 1)
        np.add.at(inside, spans[:, 1], -1)
        rows = np.flatnonzero(np.cumsum(inside)[:-1])
        return Dataset(x[rows], y[rows])
    starts = window_starts(spans, data.window.length, data.window.hop)
    summaries = summarise(x, data.features, starts, data.window.length, alive)
    return Dataset(summaries, window_targets(y, starts, data.window.length))


def _too_few(source: SourceConfig, spans: Spans, window: Window | None, holdout: Holdout) -> DataError:
    longest = int((spans[:, 1] - spans[:, 0]).max())
    remedy = "record more data or lower data.holdout.fraction of the job"
    if window is None:
        return DataError(source.path, "", f"{longest} rows leave none to train on", remedy)
    problem = (
        f"no window of {window.length} rows fits: the longest recording has {longest}, less {holdout.fraction:.0%}"
    )
    return DataError(source.path, "", problem, f"{remedy}, or choose a shorter data.window.length")
