"""What the federation asks of a crew in a round, and what it is told: plain picklable records.

A round's clients are cut into chunks whose boundaries, and whose random numbers, follow from the job alone. So who does
the work, and how many do, changes nothing of what comes of it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array, Vector
from fedloom.learning.metrics import Sums
from fedloom.learning.plan import TrainPlan
from fedloom.learning.standardise import Standardiser
from simulation.cohort.kernels import Backend
from simulation.population.base import Ids, Population
from simulation.world.attackers import Attackers
from strategies.base import Matrix

Mask = NDArray[np.bool_]


class Context(NamedTuple):
    """What stays the same in all rounds; each worker has it once."""

    job: Job
    population: Population
    x: Array
    """(n, d): the pool's features as the model sees them, i.e. standardised where the job asks for that."""
    targets: Array
    """(n, k)"""
    row_weights: Array | None
    """(n,): class weights."""
    test: Dataset | None
    """Standardised likewise."""
    standardiser: Standardiser | None
    attackers: Attackers | None = None
    backend: Backend = "numpy"


class Common(NamedTuple):
    """What is the same for all tasks of a round."""

    round: int
    plan: TrainPlan
    trains: bool
    """If not, the model is evaluated and nothing else."""
    weights: Vector
    """(p,): the round's model."""
    control: Vector | None = None
    """(p,) beside it (SCAFFOLD's c)."""


class Task(NamedTuple):
    """A chunk of the round's clients; a matrix that is None is not needed."""

    chunk: int
    first: int
    """Row of its first client in the round's matrix of deltas."""
    ids: Ids
    """(c,)"""
    evaluates: Mask
    """(c,): which of them evaluate the round's model on their hold-outs."""
    residuals: Matrix | None = None
    """(c, b): what the encoding has lost of their updates before; of the b weights that travel."""
    variates: Matrix | None = None
    """(c, p): SCAFFOLD's or FedDyn's vector of each."""
    own: Matrix | None = None
    """(c, k): what each keeps of a model of its own, see `simulation.cohort.own`."""


class TestTask(NamedTuple):
    """Evaluate the round's model on some rows of the test set."""

    start: int
    stop: int


AnyTask = Task | TestTask


class Outcome(NamedTuple):
    """What came of a task, but for the deltas, which are written where the crew was told; of a `TestTask` the metrics.

    Figures of clients that declined are zeros.
    """

    metrics: Sums
    """(figures, m): the sums of those that evaluate; one row a prefix in `Job.figures_of`."""
    samples: NDArray[np.int64]
    """(c,) each has trained on."""
    steps: NDArray[np.int64]
    """(c,)"""
    train_losses: NDArray[np.float64]
    """(c,) Σ of the samples' losses in the last epoch."""
    losses: NDArray[np.float64]
    """(c,) mean loss of the round's model before training; NaN unless the plan asks."""
    rate_sums: NDArray[np.float64]
    """(c,) Σ of the steps' learning rates; 1 for who has not trained."""
    declined: dict[int, str]
    """Place in the chunk → why it cannot take part."""
    keeps: Mask
    """(c,): whose own models go on from here. Who declines keeps what there was, unless its training has diverged."""
    residuals: Matrix | None = None
    """(c, b) after this round."""
    controls: Matrix | None = None
    """(c, p): the change of the control variates that travels beside the deltas, as it arrives (SCAFFOLD)."""
    own: Matrix | None = None
    """(c, k) after this round, of those that `keeps` says."""
