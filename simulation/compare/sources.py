"""Which files a simulation reads, beside the job itself."""

from pathlib import Path

from fedloom.errors import ConfigError
from fedloom.job import Job
from simulation.population.catalogue import NAMES
from simulation.population.files import find_sources


def data_files(job: Job, where: Path) -> list[Path]:
    """All of them, of the job in the file `where`; a data set that comes with a package has none.

    Raises:
        InputError: there is no such data.
    """
    start = [where.parent / job.warm_start] if job.warm_start else []
    name = job.simulation.dataset if job.simulation else ""
    if not name:
        return start + find_sources(where.parent / "data", job.simulation.clients if job.simulation else 0)
    if name in NAMES:
        return start
    place = where.parent / name
    if not place.is_file():
        raise ConfigError(str(where), "simulation.dataset", f"no such file {name!r}", "did you mean 'digits'?")
    return [*start, place]
