"""Clients that draw with replacement, by the method that a job names."""

import numpy as np
from numpy.typing import NDArray

from fedloom.errors import ConfigError
from fedloom.job.data import Holdout
from fedloom.simulated import Simulation
from simulation.population.base import Rows
from simulation.population.holdout import held_out
from simulation.population.lazy import ByMixture, Draws, Equal, Pieces, Sizes, Skewed, Uniformly


def check_drawn(simulation: Simulation, where: str) -> None:
    """Refuse options that have no meaning here.

    Raises:
        ConfigError: names one.
    """
    partition, field = simulation.partition, "simulation.partition"
    remedy = "leave it out, or simulation.samples"
    if partition.balanced:
        problem = "clients that draw simulation.samples each have equally many already"
        raise ConfigError(where, f"{field}.balanced", problem, remedy)
    if partition.min_samples and partition.method == "dirichlet":
        problem = f"each client draws simulation.samples = {simulation.samples}"
        raise ConfigError(where, f"{field}.min_samples", problem, remedy)
    if partition.min_samples > simulation.samples:
        problem = (
            f"{partition.min_samples} is more than simulation.samples = {simulation.samples}, which is the average"
        )
        raise ConfigError(where, f"{field}.min_samples", problem, "lower it, or raise simulation.samples")


def sizes(simulation: Simulation, rows: int, seed: int) -> Sizes:
    """How many samples each client draws; with `quantity` none more than there are `rows`."""
    partition = simulation.partition
    if partition.method == "quantity":
        return Skewed(simulation.samples, partition.concentration, partition.fewest, rows, seed)
    return Equal(simulation.samples)


def smallest(simulation: Simulation, holdout: Holdout) -> NDArray[np.int64]:
    """(1,) training samples of a client who has as few as there may be."""
    partition = simulation.partition
    total = np.array([partition.fewest if partition.method == "quantity" else simulation.samples])
    return total - held_out(total, holdout)


def draws(simulation: Simulation, rows: Rows, classes: NDArray[np.int64], seed: int) -> Draws:
    """What each client draws, of `rows` with these class numbers (which only `dirichlet` and `shards` look at)."""
    partition = simulation.partition
    match partition.method:
        case "dirichlet":
            return ByMixture(rows, classes, partition.concentration, seed)
        case "shards":
            return Pieces(rows, classes, partition.pieces, simulation.samples, seed)
        case _:
            return Uniformly(rows)
