"""Jobs to simulate, made of a few words."""

import numpy as np

from fedloom import config
from fedloom.job import Job, check_job
from simulation.population.base import Ids, Population, Samples


def job(simulation: dict[str, object] | None = None, *, inputs: int = 64, classes: int = 10, **data: object) -> Job:
    """Softmax regression of `y` on `x`, or with `classes` = 0 linear."""
    tree = {
        "name": "tested",
        "seed": 4,
        "model": {"inputs": inputs, "outputs": classes or 1},
        "data": {"features": ["x"], "target": "y", "classes": [str(number) for number in range(classes)], **data},
        "training": {"loss": "cross_entropy" if classes else "mse"},
        "rounds": {"count": 1},
    }
    made = config.convert(tree | ({} if simulation is None else {"simulation": simulation}), Job, "job.toml")
    check_job(made, "job.toml")
    return made


def everybody(population: Population) -> Ids:
    """All clients."""
    return np.arange(population.clients)


def rows_of(samples: Samples) -> list[list[int]]:
    """Each client's rows."""
    return [part.tolist() for part in np.split(samples.rows, samples.starts[1:-1])]
