"""What can be seen to be wrong with a simulation before its data is read: reading MNIST takes seconds."""

from pathlib import Path
from typing import NamedTuple

from fedloom.data.prepare import REGRESSION
from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.simulated import Simulation
from simulation.population import bundled, exact, images
from simulation.population.catalogue import folder_of_clients, locate
from simulation.population.checks import check_apart, check_method

_CLASSES = 10
"""Of each set of images."""


class Shape(NamedTuple):
    """Of a data set of the catalogue."""

    samples: int
    """That may be dealt out."""
    features: int
    classes: int
    """0: a number is to be predicted."""


def check_unread(job: Job, where: Path) -> None:
    """Refuse the simulation of the job in file `where` as far as that needs no samples.

    Raises:
        InputError: it does not go with its data set, or this is not on the machine.
    """
    simulation = job.simulation or Simulation()
    name = simulation.dataset
    if not name or folder_of_clients(name, where):
        return
    check_method(job, simulation, str(where))
    if shape := _shape_of(name, where):
        _check_columns(job, name, str(where))
        _check_width(job, name, shape.features, str(where))
        _check_classes(job, name, shape.classes, str(where))
        _check_clients(simulation, shape.samples, str(where))


def _shape_of(name: str, where: Path) -> Shape | None:
    """None of a file, which has to be read."""
    if name in bundled.SHAPES:
        return Shape(*bundled.SHAPES[name])
    folder = locate(name, where) if name in images.SETS else None
    return Shape(*images.shape(folder), _CLASSES) if folder else None


def _check_columns(job: Job, name: str, where: str) -> None:
    for key, value, known in (("features", list(job.data.features), ["x"]), ("target", job.data.target, "y")):
        if value != known:
            shown = f'"{known}"' if isinstance(known, str) else '["x"]'
            raise ConfigError(where, f"data.{key}", f"{value!r}, but {name!r} has x and y alone", f"set it to {shown}")


def _check_width(job: Job, name: str, features: int, where: str) -> None:
    if job.model.inputs != features:
        problem = f"{job.model.inputs} inputs, but a sample of {name!r} has {features} features"
        raise ConfigError(where, "model.inputs", problem, f"set it to {features}")


def _check_classes(job: Job, name: str, classes: int, where: str) -> None:
    if job.training.loss in REGRESSION:
        return
    if not classes:
        problem = f"{job.training.loss!r} learns classes, but {name!r} has a number to predict"
        raise ConfigError(where, "training.loss", problem, "set it to 'mse' or 'huber'")
    known = [str(number) for number in range(classes)]
    if sorted(job.data.classes) != known:
        problem = f"{', '.join(job.data.classes)}, but {name!r} has {', '.join(known)}"
        raise ConfigError(where, "data.classes", problem, f"name these {classes}, as text")


def _check_clients(simulation: Simulation, samples: int, where: str) -> None:
    if simulation.dataset in images.SETS and simulation.test_fraction:
        problem = f"{simulation.dataset!r} has a test part of its own"
        raise ConfigError(where, "simulation.test_fraction", problem, "leave it out")
    if simulation.test_fraction:
        check_apart(simulation.test_fraction, samples, where)
    if simulation.partition.method != "key" and not simulation.samples:
        exact.check_clients(simulation, samples - round(samples * simulation.test_fraction), where)
