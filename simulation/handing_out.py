"""The parts of a population as files that devices read, for a fleet of real processes."""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedloom.job import Job
from simulation.population.base import Population

_FEATURES, _TARGET = "x", "y"


def job_of_files(job: Job) -> Job:
    """The same job over the files that `write_parts` writes: windows are cut and columns chosen already."""
    data = msgspec.structs.replace(job.data, features=(_FEATURES,), target=_TARGET, groups=(), window=None)
    if job.data.window or job.data.groups:
        holdout = msgspec.structs.replace(job.data.holdout, by="tail")
        data = msgspec.structs.replace(data, holdout=holdout)
    return msgspec.structs.replace(job, data=data, simulation=None, sweep={})


def write_parts(job: Job, population: Population, directory: Path) -> list[Path]:
    """A file a client, in their order: its samples in the order of the pool, so that the same are held out.

    Where whole recordings are held out they come last, and the device holds out as many rows.
    """
    directory.mkdir(parents=True)
    names = np.array(job.data.classes, np.str_)
    in_order = not (job.data.window or job.data.groups)
    return [_write(population, client, names, in_order, directory) for client in range(population.clients)]


def _write(population: Population, client: int, names: NDArray[np.str_], in_order: bool, directory: Path) -> Path:
    ids = np.array([client])
    parts = [population.training(ids), population.holdout(ids)]
    rows = np.concatenate([part.rows for part in parts])
    altered = [each for part in parts if (each := population.features(ids, part)) is not None]
    x = np.concatenate(altered) if altered else population.pool.x[rows]
    y = population.pool.y[rows]
    order = np.argsort(rows, kind="stable") if in_order else np.arange(len(rows))
    path = directory / f"client-{client + 1:04}.npz"
    np.savez(path, x=x[order], y=(names[y] if names.size else y)[order])
    return path
