"""From a job's `[simulation]` to its population."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.data.prepare import REGRESSION, samples, wanted
from fedloom.data.table import Labels, Wanted
from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.simulated import Simulation, check_files
from simulation.population import drawn, exact, natural_key
from simulation.population.base import Population, Rows, generator
from simulation.population.catalogue import Opened, folder_of_clients, open_dataset
from simulation.population.checks import check_apart, check_pool, check_trained
from simulation.population.dealt import Dealt
from simulation.population.feature_skew import Seen
from simulation.population.files import find_sources, of_files
from simulation.population.holdout import split
from simulation.population.lazy import Drawn
from simulation.population.rows import by_owner
from simulation.population.unread import check_unread


def build(job: Job, where: Path, seed: int, data: Path | None = None) -> Population:
    """Everybody's samples in the simulation of the job in file `where`; the same for the same seed.

    `data`: the folder with a file a client, where the job names no data set; default: data beside the job.

    Raises:
        InputError: the data is missing or does not fit the job, or cannot be dealt out as the job asks.
    """
    simulation = job.simulation or Simulation()
    if data and simulation.dataset:
        problem = f"{simulation.dataset!r} is dealt out, but a folder with a file a client is given, too ({data})"
        raise ConfigError(str(where), "simulation.dataset", problem, "leave one of the two out")
    if not simulation.dataset:
        return of_files(job, find_sources(data or where.parent / "data", simulation.clients), seed)
    if folder := folder_of_clients(simulation.dataset, where):
        check_files(simulation, str(where))
        return of_files(job, find_sources(folder, simulation.clients), seed)
    check_unread(job, where)
    key = simulation.partition.key
    columns = wanted(job.data, job.training.loss)
    labels = tuple(dict.fromkeys((*columns.labels, key))) if key else columns.labels
    opened = open_dataset(simulation.dataset, Wanted(columns.numbers, labels), where)
    if job.data.window or job.data.groups:
        return natural_key.of_recordings(job, opened.source, opened.table, key, seed)
    return _of_samples(job, simulation, opened, str(where), seed)


class _Parts(NamedTuple):
    """What there is to deal out."""

    pool: Dataset
    test: Dataset | None
    rows: Rows
    """Of the pool, that clients may have."""
    classes: NDArray[np.int64]
    """(n,) of these rows; zeros where the job predicts numbers."""


def _of_samples(job: Job, simulation: Simulation, opened: Opened, where: str, seed: int) -> Population:
    loss, key = job.training.loss, simulation.partition.key
    pool = samples(opened.source, opened.table, job.data, loss)
    check_pool(job, simulation, opened.source, pool, where)
    test = samples(opened.source, opened.test, job.data, loss) if opened.test else None
    rows = np.arange(pool.samples)
    if simulation.test_fraction:
        test, rows = _apart(pool, simulation.test_fraction, where, seed)
    is_number = loss in REGRESSION
    classes = np.zeros(len(rows), np.int64) if is_number else pool.y[rows].astype(np.int64, copy=False)
    parts = _Parts(pool, test, rows, classes)
    if simulation.samples:
        return _drawn(job, simulation, parts, where, seed)
    return _dealt(job, simulation, parts, opened.table.labels[key] if key else None, where, seed)


def _apart(pool: Dataset, fraction: float, where: str, seed: int) -> tuple[Dataset, Rows]:
    """What nobody gets, and the rows that are left."""
    order = generator(seed, "test").permutation(pool.samples)
    count = round(pool.samples * fraction)
    check_apart(fraction, pool.samples, where)
    kept = np.sort(order[:count])
    return Dataset(pool.x[kept], pool.y[kept]), np.sort(order[count:])


def _dealt(job: Job, simulation: Simulation, parts: _Parts, column: Labels | None, where: str, seed: int) -> Dealt:
    owners = np.full(parts.pool.samples, -1, np.intp)
    clients = simulation.clients
    if column is None:
        exact.check_clients(simulation, len(parts.rows), where)
        rng = generator(seed, "partition")
        owners[parts.rows] = exact.deal(simulation.partition, clients, parts.classes, rng)
    else:
        owners[parts.rows], clients = natural_key.deal(column[parts.rows])
    train, held = split(by_owner(owners, clients), job.data.holdout, seed)
    check_trained(job, train.sizes, parts.pool.y[train.rows], where)
    return Dealt(parts.pool, parts.test, train, held, _view(simulation, seed))


def _drawn(job: Job, simulation: Simulation, parts: _Parts, where: str, seed: int) -> Drawn:
    drawn.check_drawn(simulation, len(parts.rows), where)
    law = drawn.law(simulation, parts.rows, parts.classes, seed)
    check_trained(job, drawn.smallest(simulation, job.data.holdout), parts.classes, where)
    view = _view(simulation, seed)
    return Drawn(parts.pool, parts.test, simulation.clients, law, job.data.holdout, seed, view)


def _view(simulation: Simulation, seed: int) -> Seen | None:
    partition = simulation.partition
    if partition.method != "features":
        return None
    return Seen(simulation.clients, partition.noise, partition.rotation, seed)
