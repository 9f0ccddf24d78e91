"""The jobs that a job's `[sweep]` stands for."""

from typing import NamedTuple

import msgspec

from fedloom import config
from fedloom.job.checks import check_job
from fedloom.job.document import Job
from fedloom.sweep import Settings, combinations, shown, with_settings


class Variant(NamedTuple):
    """One combination of a sweep."""

    settings: Settings
    job: Job
    """Without a sweep."""


def variants(job: Job, where: str) -> list[Variant]:
    """A job for each combination of the sweep; of a job without one, the job itself.

    Raises:
        ConfigError: a key is none of a job's, or a value cannot stand there; names the combination.
    """
    plain = msgspec.structs.replace(job, sweep={})
    return [Variant(settings, variant(plain, settings, where)) for settings in combinations(job.sweep)]


def variant(job: Job, settings: Settings, where: str) -> Job:
    """A job with other values, checked.

    Raises:
        ConfigError: a key is none of a job's, or a value cannot stand there; names all of them.
    """
    said = ", ".join(f"{key} = {shown(value)}" for key, value in settings.items())
    place = f"{where} with {said}" if said else where
    changed = config.convert(with_settings(msgspec.to_builtins(job), settings, where), Job, place)
    check_job(changed, place)
    return changed
