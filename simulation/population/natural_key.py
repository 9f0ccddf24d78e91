"""Each value of a column is a client: a user, a machine, a site; in the order of the values."""

import numpy as np
from numpy.typing import NDArray

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import prepare_table
from fedloom.data.table import Labels, Table
from fedloom.job import Job
from simulation.population.dealt import Dealt
from simulation.population.files import of_parts
from simulation.population.rows import Owners, by_owner


def deal(column: Labels) -> tuple[Owners, int]:
    """(n,) who owns each row, and how many clients there are.

    >>> deal(np.array(["b", "a", "b"]))
    (array([1, 0, 1]), 2)
    """
    values, owners = np.unique(column, return_inverse=True)
    return owners, len(values)


def of_recordings(job: Job, source: SourceConfig, table: Table, key: str, seed: int) -> Dealt:
    """The population of a table with recordings or windows, which are cut for each client as on its device.

    Raises:
        DataError: a client's rows give no training sample.
    """
    everything = by_owner(*deal(table.labels[key]))
    cuts = np.split(everything.rows, everything.starts[1:-1])
    parts = (prepare_table(source, _rows(table, rows), job.data, job.training.loss, seed) for rows in cuts)
    return of_parts(list(parts))


def _rows(table: Table, rows: NDArray[np.intp]) -> Table:
    return Table(
        {name: column[rows] for name, column in table.numbers.items()},
        {name: column[rows] for name, column in table.labels.items()},
        None if table.lines is None else table.lines[rows],
    )
