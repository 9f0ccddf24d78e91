"""A data file a client: read, windowed and held out as on a device."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import ENDINGS, Prepared, check_width, prepare
from fedloom.errors import InputError
from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from simulation.population.base import Samples
from simulation.population.dealt import Dealt
from simulation.population.rows import offsets


def find_sources(folder: Path, count: int) -> list[Path]:
    """The data files in `folder`, in the order of their names; the first `count` if that is not 0.

    Raises:
        InputError: there is no such folder, or too few files.
    """
    if not folder.is_dir():
        remedy = "name the folder with --data; an example's README says how to make its data"
        problem = "is a file, not a folder" if folder.exists() else "there is no such folder"
        raise InputError(str(folder), "", problem, remedy)
    files = sorted(path for path in folder.iterdir() if path.name.endswith(tuple(ENDINGS)))
    if len(files) < max(1, count):
        problem = f"holds {len(files)} data files for {count} devices" if files else "holds no data file"
        raise InputError(str(folder), "", problem, f"add files ending in {', '.join(ENDINGS)}")
    return files[:count] if count else files


def of_files(job: Job, files: Sequence[Path], seed: int) -> Dealt:
    """The population of which `files` are the clients, in this order.

    Raises:
        DataError: a file does not hold what the job needs.
    """
    parts = []
    for path in files:
        source = SourceConfig(str(path))
        parts.append(prepare(source, job.data, job.training.loss, seed))
        check_width(source, parts[-1], job.model.inputs)
    return of_parts(parts)


def of_parts(parts: Sequence[Prepared]) -> Dealt:
    """The population of which each part is what one client has: all that is trained on first, then all held out."""
    datasets = [part.train for part in parts] + [part.holdout for part in parts]
    pool = Dataset(np.concatenate([each.x for each in datasets]), np.concatenate([each.y for each in datasets]))
    sizes = np.array([each.samples for each in datasets], np.int64)
    train, held = sizes[: len(parts)], sizes[len(parts) :]
    first = np.arange(train.sum(), dtype=np.intp)
    then = np.arange(train.sum(), pool.samples, dtype=np.intp)
    return Dealt(pool, None, Samples(first, offsets(train)), Samples(then, offsets(held)))
