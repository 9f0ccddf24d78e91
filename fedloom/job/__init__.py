"""A job: everything that a federation needs to know to learn one model, as one TOML file of data."""

from pathlib import Path

from fedloom import config
from fedloom.job.checks import check_job
from fedloom.job.document import Job
from fedloom.job.variants import variants

__all__ = ["Job", "check_job", "load_job"]


def load_job(path: Path) -> Job:
    """Read and check a job file, with every job that its sweep stands for.

    Raises:
        ConfigError: it cannot be read, does not parse, or asks for something impossible.
    """
    job = config.load(path, Job)
    check_job(job, str(path))
    variants(job, str(path))
    return job
