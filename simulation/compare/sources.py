"""Which files a simulation reads, beside the job itself."""

from pathlib import Path

from fedloom.errors import DataError
from fedloom.job import Job
from fedloom.simulated import Simulation
from simulation.population.catalogue import locate
from simulation.population.files import find_sources


def data_files(job: Job, where: Path) -> list[Path]:
    """All of them, of the job in the file `where`; a data set that comes with a package has none.

    Raises:
        InputError: one is not there.
    """
    simulation = job.simulation or Simulation()
    beside = [where.parent / name for name in (job.warm_start, _trace(simulation)) if name]
    for path in beside:
        if not path.is_file():
            raise DataError(str(path), "", "there is no such file", f"check the path in {where}")
    return beside + _samples(simulation, where)


def _samples(simulation: Simulation, where: Path) -> list[Path]:
    if not simulation.dataset:
        return find_sources(where.parent / "data", simulation.clients)
    place = locate(simulation.dataset, where)
    if place is None:
        return []
    return sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]


def _trace(simulation: Simulation) -> str:
    devices = simulation.devices
    return devices.availability.trace if devices and devices.availability else ""
