"""What data, model and partition must have in common, whichever way samples are dealt out."""

import math

import numpy as np
from numpy.typing import NDArray

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import REGRESSION
from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.simulated import Simulation


def check_method(job: Job, simulation: Simulation, where: str) -> None:
    """Refuse a method that these data cannot be dealt out by.

    Raises:
        ConfigError: says which can.
    """
    method, field = simulation.partition.method, "simulation.partition.method"
    if (job.data.window or job.data.groups) and method != "key":
        problem = f"{method!r} deals out single samples, and data.window or data.groups makes recordings of them"
        raise ConfigError(where, field, problem, "set it to 'key', or give each client a file")
    if (job.data.window or job.data.groups) and simulation.test_fraction:
        problem = "rows taken out of recordings would leave gaps in them"
        raise ConfigError(where, "simulation.test_fraction", problem, "leave it out: clients hold some data out")
    if job.training.loss in REGRESSION and method in ("dirichlet", "shards"):
        problem = f"{method!r} deals out classes, but the job predicts numbers"
        raise ConfigError(where, field, problem, "choose iid, quantity, features or key")
    if method != "key" and not simulation.clients:
        problem = "is missing: the data set does not say how many clients share it"
        raise ConfigError(where, "simulation.clients", problem, "set it, as in clients = 100")


def check_pool(job: Job, simulation: Simulation, source: SourceConfig, pool: Dataset, where: str) -> None:
    """Refuse samples that the model or the partition cannot take.

    Raises:
        InputError: says what does not fit.
    """
    width = pool.x.shape[1]
    if width != job.model.inputs:
        problem = f"{job.model.inputs} inputs, but a sample of {source.path} has {width} features"
        raise ConfigError(where, "model.inputs", problem, f"set it to {width}, or change data.features")
    if simulation.partition.rotation and math.isqrt(width) ** 2 != width:
        problem = f"only square images can be turned, and a sample has {width} features"
        raise ConfigError(where, "simulation.partition.rotation", problem, "leave it out, or set noise instead")


def check_apart(fraction: float, samples: int, where: str) -> None:
    """Refuse a share of the samples that is none or all of them.

    Raises:
        ConfigError: says of how many.
    """
    count, field = round(samples * fraction), "simulation.test_fraction"
    if not count:
        raise ConfigError(where, field, f"{fraction:g} of {samples:,} samples is none", "raise it, or leave it out")
    if count == samples:
        raise ConfigError(where, field, f"{fraction:g} of {samples:,} samples leaves none to train on", "lower it")


def check_trained(job: Job, sizes: NDArray[np.int64], targets: NDArray[np.generic], where: str) -> None:
    """Refuse a population of which a client, or a class, is not trained on at all.

    `sizes`: (N,) training samples, or (1,) those of the smallest client; `targets`: of all that may be trained on.

    Raises:
        ConfigError: names the first.
    """
    if not sizes.min():
        problem = "leaves a client nothing to train on"
        remedy = "lower it, or give clients more: raise simulation.samples or partition.min_samples, or lower clients"
        raise ConfigError(where, "data.holdout.fraction", problem, remedy)
    if job.training.loss in REGRESSION:
        return
    counts = np.bincount(targets.astype(np.int64, copy=False), minlength=len(job.data.classes))
    if (missing := np.flatnonzero(counts == 0)).size:
        name = job.data.classes[int(missing[0])]
        problem = f"no client has class {name!r} to train on"
        remedy = "take it out of data.classes, or have less kept from training: simulation.test_fraction, data.holdout"
        raise ConfigError(where, "data.classes", problem, remedy)
