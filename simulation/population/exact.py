"""Every sample dealt out once, by the method that a job names."""

import numpy as np
from numpy.typing import NDArray

from fedloom.errors import ConfigError
from fedloom.simulated import Partition, Simulation
from simulation.population import dirichlet, iid, quantity, shards
from simulation.population.rows import Owners
from simulation.population.top_up import topped_up


def check_clients(simulation: Simulation, rows: int, where: str) -> None:
    """Refuse a population of which somebody would have nothing.

    Raises:
        ConfigError: there are more clients than samples.
    """
    partition, clients = simulation.partition, simulation.clients
    each = partition.pieces if partition.method == "shards" else partition.fewest
    if clients * each > rows:
        asked = f"{clients:,} clients" + (f" with {each} samples each at least" if each > 1 else "")
        problem = f"{asked} are more than the {rows:,} samples that there are to deal out"
        fewer = f"set it to {rows // each:,} at most" if rows >= each else "give each fewer"
        remedy = f"{fewer}, or simulation.samples = 20 to let each draw so many of them all"
        raise ConfigError(where, "simulation.clients", problem, remedy)


def deal(partition: Partition, clients: int, classes: NDArray[np.int64], rng: np.random.Generator) -> Owners:
    """(n,) who owns each row, of (n,) class numbers (which `iid`, `quantity` and `features` do not look at)."""
    match partition.method:
        case "shards":
            return shards.deal(classes, clients, partition.pieces, rng)
        case "dirichlet" if partition.balanced:
            owners = dirichlet.deal_balanced(classes, clients, partition.concentration, rng)
        case "dirichlet":
            owners = dirichlet.deal(classes, clients, partition.concentration, rng)
        case "quantity":
            owners = quantity.deal(len(classes), clients, partition.concentration, rng)
        case _:
            return iid.deal(len(classes), clients, rng)
    return topped_up(owners, clients, partition.fewest, rng)
