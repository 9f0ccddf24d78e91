"""Which files a simulation reads, beside the job itself."""

from pathlib import Path

from fedloom.job import Job
from simulation.population.catalogue import locate
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
    place = locate(name, where)
    if place is None:
        return start
    return start + (sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place])
