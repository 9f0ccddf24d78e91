"""Runs of a job over virtual clients: the population, and the crew that does the work."""

import math
import os
from functools import partial
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from fedloom.job import Job
from fedloom.learning.spec import ModelSpec
from simulation.children import check_workers
from simulation.cohort.crew import MakeCrew, OneHand
from simulation.cohort.cutting import training_flop
from simulation.cohort.federation import Federation
from simulation.cohort.hands import Hands
from simulation.cohort.kernels import EXTRAS, Backend, Choice, can_load_compiled
from simulation.extras import require
from simulation.population.base import Population
from simulation.population.build import build
from simulation.root_set import open_root_set

_LONG_FLOP = 3e11
"""Some seconds: less is over before processes have started and the compiled kernel is loaded."""
_MOST_PADDING, _LANES = 4, 16
"""Times the weights that the compiled kernel, with rows of whole vectors, may work on and still gain something."""
_ASKED = 1000
"""Clients of a large population that stand for all."""


def federation(
    job: Job,
    where: Path,
    *,
    data: Path | None = None,
    root_set: Path | None = None,
    workers: int = 0,
    make_crew: MakeCrew | None = None,
    backend: Choice = "auto",
) -> Federation:
    """Of the job in file `where`. `data` is as in `build`, `root_set` a file, `workers` processes; 0: as is worth it.

    `make_crew` makes another crew than these; `backend` is what their products are computed with.

    Raises:
        InputError: the job cannot be run, its data is missing or does not fit, or the backend is not installed.
    """
    root = open_root_set(root_set, job, where)
    population = build(job, where, job.seed, data)
    made = make_crew or crew(job, population, workers)
    chosen = backend_of(backend, job, population)
    return Federation(job, where, population, made, root, chosen)


def backend_of(choice: Choice, job: Job, population: Population) -> Backend:
    """What `auto` comes to; the same wherever the same packages are installed.

    Raises:
        InputError: it is not installed.
    """
    if choice == "auto":
        is_worth_it = _fills_vectors(job.model) and _flop(job, population) > _LONG_FLOP
        return "numba" if is_worth_it and can_load_compiled() else "numpy"
    if choice != "numpy":
        require(choice, f"the backend {choice}", f"fedloom[{EXTRAS[choice]}]")
    return choice


def _fills_vectors(spec: ModelSpec) -> bool:
    """A linear model with one output does not."""
    padded = sum((fan_in + 1) * -(-fan_out // _LANES) * _LANES for fan_in, fan_out in pairwise(spec.widths))
    return padded <= _MOST_PADDING * spec.layout().size


def crew(job: Job, population: Population, workers: int = 0) -> MakeCrew:
    """So many processes; with 0 as many as there are cores, where there is work for them, else this one.

    Raises:
        InputError: there are far more than the machine has cores.
    """
    check_workers(workers, "fedloom simulate")
    if not workers:
        workers = len(os.sched_getaffinity(0)) if _flop(job, population) > _LONG_FLOP else 1
    return OneHand if workers == 1 else partial(Hands, workers=workers)


def _flop(job: Job, population: Population) -> float:
    """Of the whole run, about."""
    sizes, plan = population.sizes(np.arange(min(_ASKED, population.clients))), job.training
    each, samples = training_flop(sizes, job.model.layout().size, plan), math.ceil(sizes.mean())
    planned = msgspec.structs.replace(plan, max_steps=0).steps(samples)
    return job.rounds.count * job.rounds.cohort * population.clients * each * plan.steps(samples) / max(1, planned)
