"""A version of the global model as a file has it."""

from aggregator.records import CurrentModel
from fedloom.job import Job
from fedloom.learning.model import Model


def described(model: CurrentModel, job: Job, notes: dict[str, str]) -> Model:
    """The model with all that a user of it needs to know."""
    return Model(
        spec=job.model,
        loss=job.training.loss,
        weights=model.weights,
        standardiser=model.standardiser,
        classes=job.data.classes,
        features=job.data.input_names(job.model.inputs),
        meta=notes,
    )
