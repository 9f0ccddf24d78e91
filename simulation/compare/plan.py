"""What is to be run: every combination of every job's sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from aggregator.root_set import load as load_root_set
from aggregator.runnable import check_runnable
from fedloom.data.config import SourceConfig
from fedloom.errors import InputError
from fedloom.job import Job, load_job
from fedloom.job.variants import variants
from fedloom.sweep import MAX_RUNS, Settings, shown
from simulation.compare.sources import data_files


class Run(NamedTuple):
    """One job to simulate."""

    settings: Settings
    """What the sweep has set; empty of a job without one."""
    job: Job
    path: Path
    """Of the job file, beside which its data are."""
    root_set: Path | None = None
    """The aggregator's own samples, for a rule that needs some."""

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
        if job.name in named:
            problem = f"is the name of the job in {named[job.name]}, too"
            raise InputError(str(path), "name", problem, "give each job a name of its own")
        named[job.name] = path
        runs += [Run(variant.settings, variant.job, path, root_set) for variant in variants(job, str(path))]
    if len(runs) > MAX_RUNS:
        remedy = f"compare in several goes: {MAX_RUNS:,} at most"
        raise InputError("fedloom compare", "", f"these jobs make {len(runs):,} runs", remedy)
    for run in runs:
        check_runnable(run.job, run.path)
        data_files(run.job, run.path)
        load_root_set(SourceConfig(str(root_set)) if root_set else None, run.job, str(run.path))
    return runs
