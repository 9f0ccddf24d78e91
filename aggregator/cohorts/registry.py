"""Rules that draw a cohort, by the name that a job gives them."""

from typing import Any

import msgspec

from aggregator.cohorts.balance import ClassBalance
from aggregator.cohorts.base import Rule
from aggregator.cohorts.oort import Oort
from aggregator.cohorts.power_of_choice import PowerOfChoice
from aggregator.cohorts.samples import BySamples
from aggregator.cohorts.uniform import Uniform
from fedloom.config import convert
from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.suggest import closest

RULES: dict[str, type[Any]] = {
    "uniform": Uniform,
    "samples": BySamples,
    "class-balance": ClassBalance,
    "power-of-choice": PowerOfChoice,
    "oort": Oort,
}


def create(job: Job, where: str) -> Rule:
    """The rule that a job names, with the job's options.

    Raises:
        ConfigError: no such rule, it has no such option, or the job measures nothing that it could go by.
    """
    kind = RULES.get(job.cohort.name)
    if kind is None:
        raise ConfigError(where, "cohort.name", f"{job.cohort.name!r} is not known here", _hint(job.cohort.name, RULES))
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in job.cohort.options:
        if name not in fields:
            problem = f"is not an option of {job.cohort.name!r}"
            raise ConfigError(where, f"cohort.options.{name}", problem, _hint(name, fields))
    if kind.counts_classes:
        _check_classes(job, where)
    return convert(job.cohort.options, kind, where, "cohort.options")  # type: ignore[no-any-return]  # the tests hold it to the protocol


def _hint(name: str, known: dict[str, Any]) -> str:
    close = closest(name, known)
    return f"did you mean {close!r}?" if close else f"known are {', '.join(known) or 'none'}"


def _check_classes(job: Job, where: str) -> None:
    """Which classes a device has shows in its evaluation alone."""
    if not job.data.classes:
        problem = f"{job.cohort.name!r} balances classes, and a regression has none"
        raise ConfigError(where, "cohort.name", problem, "choose another rule")
    if not (job.rounds.evaluate and job.data.holdout.fraction):
        problem = f"{job.cohort.name!r} reads classes off the evaluations, and there are none"
        raise ConfigError(where, "cohort.name", problem, "set rounds.evaluate and data.holdout.fraction above 0")
