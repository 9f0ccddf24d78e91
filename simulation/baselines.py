"""What a federation is compared with: each device by itself, and all data in one place.

Both train with the job's own plan, for as many passes over their data as the fleet makes: rounds × local epochs. They
standardise by their own data, as whoever trained them would.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.learning.initialise import initial_weights
from fedloom.learning.model import Model
from fedloom.learning.standardise import Moments, Standardiser
from fedloom.learning.trainer import Trainer


def train_centrally(job: Job, data: Dataset) -> Model:
    """The job's model, trained on `data` in one process."""
    standardiser: Standardiser | None = None
    if job.data.standardise:
        standardiser = Moments.of(data.x).standardiser()
        data = Dataset(standardiser.apply(data.x), data.y)
    plan = msgspec.structs.replace(job.training, local_epochs=job.rounds.count * job.training.local_epochs)
    rng = np.random.default_rng(job.seed)
    fitted = Trainer(job.model, plan).fit(initial_weights(job.model, rng), data, rng)
    return Model(
        spec=job.model,
        loss=job.training.loss,
        weights=fitted.weights,
        standardiser=standardiser,
        classes=job.data.classes,
    )


def pool(datasets: Sequence[Dataset]) -> Dataset:
    """All samples in one place: what federation makes unnecessary."""
    return Dataset(np.concatenate([data.x for data in datasets]), np.concatenate([data.y for data in datasets]))
