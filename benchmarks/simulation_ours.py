"""fedloom's side of `simulation.py`: the engine `cohort`, from the job to the next round's model.

A task as JSON in, a line of JSON out, as in simulation_peers/task.py; the setting begins with the number of workers
and ends with the backend.
"""

import sys
import tempfile
from collections.abc import Generator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parent / "simulation_peers"))

import numpy as np
import task as tasks
from task import Array, Data, Task

from aggregator.notices import AnyNotice, RoundClosed
from fedloom import config
from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.learning.model import Model
from fedloom.learning.model_file import save
from fedloom.learning.plan import Loss
from fedloom.learning.spec import ModelSpec
from simulation.cohort.federation import Federation
from simulation.cohort.kernels import Backend
from simulation.population.base import Samples
from simulation.population.dealt import Dealt
from simulation.virtual import crew

MANY = 1_000_000


def population_of(task: Task, clients: list[Data]) -> Dealt:
    """Client i has the samples of client i mod DISTINCT, as at the others."""
    pool = Dataset(np.concatenate([each.x for each in clients]), np.concatenate([each.y for each in clients]))
    rows = np.arange(task.clients * task.samples) % pool.samples
    nothing = Samples(np.empty(0, np.intp), np.zeros(task.clients + 1, np.intp))
    return Dealt(pool, None, Samples(rows, np.arange(task.clients + 1) * task.samples), nothing)


def job_of(task: Task, model: Path) -> Job:
    """All clients in each round, no evaluation; `model` is what it begins with."""
    outputs = task.widths[-1]
    data: dict[str, Any] = {"features": ["x"], "target": "y", "standardise": False, "holdout": {"fraction": 0.0}}
    if not task.is_regression:
        data["classes"] = [str(number) for number in range(outputs)]
    training = {"loss": "mse" if task.is_regression else "cross_entropy", "learning_rate": tasks.RATE}
    training |= {"local_epochs": 1, "batch_size": 0 if task.batch == task.samples else task.batch}
    rounds = {"count": MANY, "devices": task.clients, "over_selection": 1.0, "evaluate": 0.0}
    shape = {"inputs": task.widths[0], "hidden": task.widths[1:-1], "outputs": outputs}
    whole = {"name": "benchmark", "model": shape, "data": data, "training": training, "rounds": rounds}
    return config.convert(whole | {"warm_start": str(model)}, Job, "the benchmark")


def saved(task: Task, path: Path) -> Path:
    """The first model."""
    spec = ModelSpec(task.widths[0], task.widths[-1], tuple(task.widths[1:-1]))
    flat = np.concatenate([array.reshape(-1) for array in tasks.initial(task)])
    loss: Loss = "mse" if task.is_regression else "cross_entropy"
    classes = () if task.is_regression else tuple(str(number) for number in range(task.widths[-1]))
    save(Model(spec=spec, loss=loss, weights=flat, standardiser=None, classes=classes), path)
    return path


def arrays_of(task: Task, model: Model) -> list[Array]:
    """[W, b, …]."""
    arrays, start = [], 0
    for fan_in, fan_out in pairwise(task.widths):
        for shape in ((fan_in, fan_out), (fan_out,)):
            size = int(np.prod(shape))
            arrays.append(model.weights[start : start + size].reshape(shape))
            start += size
    return arrays


def main() -> None:
    """All rounds."""
    task = tasks.from_arguments()
    clients = tasks.data(task)
    meter = tasks.Meter(task, {name: version(name) for name in ("fedloom", "numba")})
    with tempfile.TemporaryDirectory(prefix="fedloom-simulation-") as name:
        job = job_of(task, saved(task, Path(name) / "model.fedloom"))
        population = population_of(task, clients)
        workers, backend = int(task.setting.split()[0]), cast("Backend", task.setting.split()[-1])
        crew_of = crew(job, population, workers)
        federation = Federation(job, Path(name) / "job.toml", population, crew_of, backend=backend)
        run = cast("Generator[AnyNotice]", federation.run())
        closed = (notice for notice in run if isinstance(notice, RoundClosed))
        next(closed)
        meter.first(arrays_of(task, federation.model), clients)
        for _ in closed:
            if not meter.further():
                break
        meter.tell()
        run.close()


if __name__ == "__main__":
    main()
