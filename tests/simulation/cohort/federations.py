"""Small jobs and populations for tests of the engine."""

from pathlib import Path

import numpy as np

from fedloom import config
from fedloom.data.prepare import Prepared
from fedloom.job import Job, check_job
from fedloom.learning.dataset import Dataset
from simulation.cohort.crew import MakeCrew, OneHand
from simulation.cohort.federation import Federation
from simulation.cohort.kernels import Backend
from simulation.population.base import Population
from simulation.population.files import of_parts

WHERE = Path("job.toml")
CLASSES = 3


def job(**tables: object) -> Job:
    """Three classes of points in the plane; `tables` are changed keys: `training={"batch_size": 0}`."""
    table: dict[str, object] = {
        "name": "test",
        "seed": 5,
        "model": {"inputs": 2, "hidden": [4], "outputs": CLASSES},
        "data": {"features": ["x"], "target": "y", "classes": ["a", "b", "c"]},
        "training": {"loss": "cross_entropy", "learning_rate": 0.2, "batch_size": 4, "local_epochs": 2},
        "rounds": {"count": 3, "devices": 2},
    }
    for name, changes in tables.items():
        own = table.get(name)
        table[name] = own | changes if isinstance(own, dict) and isinstance(changes, dict) else changes
    made = config.convert(table, Job, str(WHERE))
    check_job(made, str(WHERE))
    return made


def parts(clients: int = 6, seed: int = 3, samples: int = 8) -> list[Prepared]:
    """Of as many clients, each with a few samples more than the one before, and a hold-out of four."""
    rng = np.random.default_rng(seed)
    return [Prepared(_points(samples + number, rng), _points(4, rng)) for number in range(clients)]


def population(clients: int = 6, seed: int = 3) -> Population:
    return of_parts(parts(clients, seed))


def run(
    job: Job, people: Population | None = None, make_crew: MakeCrew = OneHand, backend: Backend = "numpy"
) -> Federation:
    """From the first round to the last."""
    federation = Federation(job, WHERE, people or population(), make_crew, backend=backend)
    for _ in federation.run():
        pass
    return federation


def _points(count: int, rng: np.random.Generator) -> Dataset:
    y = rng.integers(0, CLASSES, count)
    x = rng.normal(size=(count, 2)) + np.array([[3.0, 0.0], [0.0, 3.0], [-2.0, -2.0]])[y]
    return Dataset(x.astype(np.float32), y)
