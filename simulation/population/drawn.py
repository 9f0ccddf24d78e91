"""Clients that draw with replacement, by the method that a job names."""

import numpy as np
from numpy.typing import NDArray

from fedloom.errors import ConfigError
from fedloom.job.data import Holdout
from fedloom.simulated import Simulation
from simulation.population.base import Rows
from simulation.population.holdout import held_out
from simulation.population.laws import ByClass, ByQuantity, Pieces, Size, Uniformly
from simulation.population.lazy import Law


def check_drawn(simulation: Simulation, rows: int, where: str) -> None:
    """Refuse options that have no meaning here, where so many rows may be drawn from.

    Raises:
        ConfigError: names one.
    """
    if _differ(simulation) and simulation.samples > rows:
        problem = (
            f"{simulation.samples:,} on average, but no client draws more than the {rows:,} samples that there are"
        )
        raise ConfigError(where, "simulation.samples", problem, f"set it to {rows:,} at most")
    partition, field = simulation.partition, "simulation.partition.min_samples"
    if partition.min_samples and partition.balanced:
        problem = f"each client draws simulation.samples = {simulation.samples}"
        raise ConfigError(where, field, problem, "leave it out")
    if partition.min_samples > simulation.samples:
        problem = f"{partition.min_samples} is more than the average, simulation.samples = {simulation.samples}"
        raise ConfigError(where, field, problem, "lower it, or raise simulation.samples")


def law(simulation: Simulation, rows: Rows, classes: NDArray[np.int64], seed: int) -> Law:
    """What each client draws, of `rows` with these class numbers (which only `dirichlet` and `shards` look at)."""
    partition, samples = simulation.partition, simulation.samples
    match partition.method:
        case "dirichlet":
            size = Size(samples, partition.fewest, len(rows))
            return ByClass(rows, classes, partition.concentration, partition.balanced, size, seed)
        case "quantity":
            return ByQuantity(rows, samples, partition.concentration, partition.fewest, seed)
        case "shards":
            return Pieces(rows, classes, partition.pieces, samples, seed)
        case _:
            return Uniformly(rows, samples)


def smallest(simulation: Simulation, holdout: Holdout) -> NDArray[np.int64]:
    """(1,) training samples of a client who has as few as there may be."""
    total = np.array([simulation.partition.fewest if _differ(simulation) else simulation.samples])
    return total - held_out(total, holdout)


def _differ(simulation: Simulation) -> bool:
    """Whether clients draw unequally many."""
    partition = simulation.partition
    return partition.method == "quantity" or (partition.method == "dirichlet" and not partition.balanced)
