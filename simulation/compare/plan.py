"""What is to be run: every combination of every job's sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from aggregator.runnable import check_runnable
from fedloom.errors import InputError
from fedloom.job import Job, load_job
from fedloom.job.variants import variants
from fedloom.sweep import MAX_RUNS, Settings, shown
from simulation.cohort.federation import check_clients
from simulation.compare.sources import data_files
from simulation.population.unread import check_unread
from simulation.root_set import open_root_set, useless
from strategies.registry import needs_root_set


class Run(NamedTuple):
    """One job to simulate."""

    settings: Settings
    """What the sweep has set; empty of a job without one."""
    job: Job
    path: Path
    """Of the job file, beside which its data are."""
    root_set: Path | None = None
    """The aggregator's own samples, where the job's rule needs some."""

    def __str__(self) -> str:
        said = ", ".join(f"{key} {shown(value)}" for key, value in self.settings.items())
        return f"{self.job.name} ({said})" if said else self.job.name


def plan(paths: Sequence[Path], root_set: Path | None = None) -> list[Run]:
    """The runs of these jobs, in order, of which each is known to be possible.

    Raises:
        InputError: a job is wrong or its data is missing, two have one name, or there are too many runs.
    """
    runs: list[Run] = []
    named: dict[str, Path] = {}
    for path in paths:
        job = load_job(path)
        if job.name in named and named[job.name].resolve() == path.resolve():
            raise InputError(str(path), "JOB", "is given twice", "give it once; for repetitions sweep over seed")
        if job.name in named:
            problem = f"is the name of the job in {named[job.name]}, too"
            raise InputError(str(path), "name", problem, "give each job a name of its own")
        named[job.name] = path
        runs += [Run(variant.settings, variant.job, path) for variant in variants(job, str(path))]
    if len(runs) > MAX_RUNS:
        remedy = f"compare in several goes: {MAX_RUNS:,} at most"
        raise InputError("fedloom compare", "", f"these jobs make {len(runs):,} runs", remedy)
    for run in runs:
        check_runnable(run.job, run.path)
        data_files(run.job, run.path)
        _check_unread(run)
    return _with_root_set(runs, root_set)


def _check_unread(run: Run) -> None:
    """Refuse what can be seen without a look at the samples."""
    check_unread(run.job, run.path)
    if run.job.simulation and run.job.simulation.clients:
        check_clients(run.job, str(run.path), run.job.simulation.clients, "clients")


def _with_root_set(runs: Sequence[Run], root_set: Path | None) -> list[Run]:
    """The runs, of which those that need it have it."""
    needing = [needs_root_set(run.job, str(run.path)) for run in runs]
    if root_set and not any(needing):
        raise useless(root_set, "the rules of these jobs make")
    given = [run._replace(root_set=root_set if needs else None) for run, needs in zip(runs, needing, strict=True)]
    for run in given:
        open_root_set(run.root_set, run.job, run.path)
    return given
