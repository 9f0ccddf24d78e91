"""From a job's `[simulation]` to its population."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedloom.data.prepare import REGRESSION, samples, wanted
from fedloom.errors import ConfigError, DataError
from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.simulated import Simulation
from simulation.population import dirichlet, iid, quantity, shards
from simulation.population.base import Population, generator
from simulation.population.catalogue import open_dataset
from simulation.population.dealt import Dealt
from simulation.population.files import find_sources, of_files
from simulation.population.holdout import split
from simulation.population.rows import Owners, by_owner
from simulation.population.top_up import topped_up


def build(job: Job, where: Path, seed: int, data: Path | None = None) -> Population:
    """Everybody's samples in the simulation of the job in file `where`; the same for the same seed.

    `data`: the folder with a file a client, where the job names no data set; default: data beside the job.

    Raises:
        InputError: the data is missing or does not fit the job, or cannot be dealt out as the job asks.
    """
    simulation = job.simulation or Simulation()
    if not simulation.dataset:
        return of_files(job, find_sources(data or where.parent / "data", simulation.clients), seed)
    opened = open_dataset(simulation.dataset, wanted(job.data, job.training.loss), where)
    pool = samples(opened.source, opened.table, job.data, job.training.loss)
    if pool.x.shape[1] != job.model.inputs:
        problem = f"a sample has {pool.x.shape[1]} features, but the model takes {job.model.inputs}"
        raise DataError(opened.source.path, "features", problem, "make data.features and model.inputs of the job agree")
    test = samples(opened.source, opened.test, job.data, job.training.loss) if opened.test else None
    dealt = np.arange(pool.samples)
    if simulation.test_fraction:
        test, dealt = _without_test(pool, simulation.test_fraction, seed)
    _check_clients(simulation, len(dealt), str(where))
    owners = np.full(pool.samples, -1, np.intp)
    owners[dealt] = _owners(job, simulation, pool.y[dealt], str(where), generator(seed, "partition"))
    train, held = split(by_owner(owners, simulation.clients), job.data.holdout, seed)
    return Dealt(pool, test, train, held)


def _check_clients(simulation: Simulation, rows: int, where: str) -> None:
    """Refuse a population of which somebody would have nothing."""
    partition, clients, field = simulation.partition, simulation.clients, "simulation.clients"
    if not clients:
        problem = "is missing: the data set does not say how many clients share it"
        raise ConfigError(where, field, problem, "set it, as in clients = 100")
    each = partition.pieces if partition.method == "shards" else partition.fewest
    if clients * each > rows:
        what = "samples" if each == 1 else f"times {each} samples"
        problem = f"{clients:,} clients need {what} each a client, but there are {rows:,} to deal out"
        remedy = f"set it to {rows // each:,} at most, or simulation.samples to let each draw so many with replacement"
        raise ConfigError(where, field, problem, remedy)


def _without_test(pool: Dataset, fraction: float, seed: int) -> tuple[Dataset, NDArray[np.intp]]:
    """What nobody gets, and the rows that are left."""
    order = generator(seed, "test").permutation(pool.samples)
    count = round(pool.samples * fraction)
    kept = np.sort(order[:count])
    return Dataset(pool.x[kept], pool.y[kept]), np.sort(order[count:])


def _owners(
    job: Job,
    simulation: Simulation,
    targets: NDArray[np.int64] | NDArray[np.float32],
    where: str,
    rng: np.random.Generator,
) -> Owners:
    partition, clients, rows = simulation.partition, simulation.clients, len(targets)
    if job.training.loss in REGRESSION and partition.method in ("dirichlet", "shards"):
        problem = f"{partition.method!r} deals out classes, but the job predicts numbers"
        raise ConfigError(where, "simulation.partition.method", problem, "choose iid, quantity, features or key")
    classes = targets.astype(np.int64, copy=False)
    match partition.method:
        case "shards":
            return shards.deal(classes, clients, partition.pieces, rng)
        case "dirichlet" if partition.balanced:
            return dirichlet.deal_balanced(classes, clients, partition.concentration, rng)
        case "dirichlet":
            owners = dirichlet.deal(classes, clients, partition.concentration, rng)
        case "quantity":
            owners = quantity.deal(rows, clients, partition.concentration, rng)
        case _:
            return iid.deal(rows, clients, rng)
    return topped_up(owners, clients, partition.fewest, rng)
