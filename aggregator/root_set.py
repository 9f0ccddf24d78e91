"""The aggregator's own samples: for a rule that compares updates with one that nobody else had a hand in (FLTrust).

It trains on them in each round as a device would, from the round's model and by the round's plan. The order of samples
follows from the job's seed and the round, so that a round that is fused again has the same update to compare with.
"""

from hashlib import sha256

import msgspec
import numpy as np

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import check_width, prepare
from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.job.data import Holdout
from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from fedloom.learning.standardise import Standardiser
from fedloom.learning.trainer import Trainer
from strategies import FusionError
from strategies.registry import needs_root_set


class RootSet:
    """Trains on it."""

    def __init__(self, data: Dataset, job: Job) -> None:
        self._data = data
        self._job = job

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self._data.x)

    def update(self, round_number: int, plan: TrainPlan, weights: Vector, standardiser: Standardiser | None) -> Vector:
        """(p,) what a device with these samples would send; the same whenever it is asked for.

        Raises:
            FusionError: its training diverges.
        """
        data = self._data if standardiser is None else Dataset(standardiser.apply(self._data.x), self._data.y)
        fit = Trainer(self._job.model, plan).fit(weights, data, self._rng(round_number))
        if fit.stopped == "diverged":
            raise FusionError(f"training on the root set diverged after {fit.steps} steps; lower the learning rate")
        delta: Vector = fit.weights
        delta -= weights
        return delta

    def _rng(self, round_number: int) -> np.random.Generator:
        seed = f"{self._job.seed}/{round_number}".encode()
        return np.random.default_rng(int.from_bytes(sha256(b"fedloom/1/root-set" + seed).digest(), "big"))


def load(source: SourceConfig | None, job: Job, where: str) -> RootSet | None:
    """All samples of `source`, or None where the rule of the job, which is in the file `where`, needs none.

    Raises:
        ConfigError: the rule needs one, and there is none.
        DataError: the file cannot be read, or does not fit the job.
    """
    if not needs_root_set(job, where):
        return None
    if source is None:
        problem = f"{job.strategy.name!r} compares updates with one of the aggregator's own, which has no samples"
        remedy = "give it some with [root_set] in its configuration or simulate --root-set, or choose another rule"
        raise ConfigError(where, "strategy.name", problem, remedy)
    everything = Holdout(fraction=0.0)
    prepared = prepare(source, msgspec.structs.replace(job.data, holdout=everything), job.training.loss, job.seed)
    check_width(source, prepared, job.model.inputs)
    return RootSet(prepared.train, job)
