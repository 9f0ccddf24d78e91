"""The aggregator's own samples in a simulation: a file, where the job's rule needs one, and only there."""

from pathlib import Path

from aggregator.root_set import RootSet, load
from fedloom.data.config import SourceConfig
from fedloom.errors import InputError
from fedloom.job import Job
from strategies.registry import names_with_root_set


def open_root_set(path: Path | None, job: Job, where: Path) -> RootSet | None:
    """The samples for the rule of the job in file `where`; None where it needs none.

    Raises:
        InputError: it needs some, and there are none, or the other way round; or they cannot be read, or do not fit.
    """
    root_set = load(SourceConfig(str(path)) if path else None, job, str(where))
    if path and root_set is None:
        raise useless(path, f"the rule of job {job.name}, {job.strategy.name!r}, makes")
    return root_set


def useless(path: Path, what: str) -> InputError:
    """That `what` nothing of these samples."""
    rules = " or ".join(repr(name) for name in names_with_root_set())
    return InputError(
        str(path), "--root-set", f"{what} nothing of it", f"leave it out, or set strategy.name to {rules}"
    )
