"""Whether a job can be run, seen before anything is started for it."""

from pathlib import Path

from aggregator.cohorts.registry import create as create_rule
from aggregator.initial import initial_model
from aggregator.opening import check_manifest
from fedloom.job import Job
from strategies import create_for, first_plan


def check_runnable(job: Job, path: Path) -> None:
    """Refuse a job, read from `path`, that every aggregator would refuse at its start.

    Raises:
        InputError: its rules are unknown or do not go with the rest of it, or the model that it starts from is wrong.
    """
    where = str(path)
    strategy = create_for(job, where)
    create_rule(job, where)
    check_manifest(job, first_plan(strategy, job), where)
    initial_model(job, path)
