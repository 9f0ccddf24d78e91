"""Which figures a run measures, known before it is done."""

from collections.abc import Iterable

import numpy as np

from fedloom.errors import InputError
from fedloom.job import Job
from fedloom.learning.metrics import Metrics
from fedloom.learning.personal import PREFIX
from fedloom.simulated import Simulation
from fedloom.suggest import closest
from simulation.history import TEST
from simulation.population.images import SETS


def measured(job: Job) -> list[str]:
    """Names of the figures of a job's runs, those of single classes last."""
    simulation = job.simulation or Simulation()
    prefixes = [TEST] if simulation.test_fraction or simulation.dataset in SETS else []
    if job.data.holdout.fraction and job.rounds.evaluate:
        prefixes += ["", PREFIX] if job.personal else [""]
    loss, outputs = job.training.loss, job.model.outputs
    names = Metrics(loss, outputs, np.ones(Metrics.length(loss, outputs))).summary()
    return sorted((prefix + name for prefix in prefixes for name in names), key=_of_a_class)


def check_figure(wanted: str, jobs: Iterable[Job]) -> None:
    """Refuse a figure to compare by that no job measures.

    Raises:
        InputError: says which there are.
    """
    known = list(dict.fromkeys(name for job in jobs for name in measured(job)))
    if wanted in known:
        return
    close = closest(wanted, known)
    choice = ", ".join(name for name in known if not _of_a_class(name)) or "none: data.holdout.fraction is 0"
    remedy = f"did you mean {close!r}?" if close else f"choose from {choice}"
    raise InputError("fedloom compare", "--figure", f"{wanted!r} is measured in none of these runs", remedy)


def _of_a_class(name: str) -> bool:
    return name.rpartition("_")[2].isdigit()
