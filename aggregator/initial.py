"""The model that a run starts from: seeded random weights, or a saved model."""

from pathlib import Path

import numpy as np

from aggregator.records import CurrentModel
from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.learning.initialise import initial_weights
from fedloom.learning.model import Model
from fedloom.learning.model_file import load


def initial_model(job: Job, where: Path) -> CurrentModel:
    """Version 0; `where` is the job file, beside which a warm start's file lies.

    Raises:
        ConfigError: the file to start from does not fit the job.
        DataError: it cannot be read.
    """
    if not job.warm_start:
        return CurrentModel(0, initial_weights(job.model, np.random.default_rng(job.seed)), None)
    path = where.parent / job.warm_start
    model = _from_onnx(path) if path.suffix == ".onnx" else load(path)
    _check_fit(job, model, str(where))
    return CurrentModel(0, model.weights, model.standardiser)


def _from_onnx(path: Path) -> Model:
    from fedloom.learning.onnx_import import import_onnx  # few jobs begin with such a file

    return import_onnx(path)


def _check_fit(job: Job, model: Model, where: str) -> None:
    ours, theirs = job.model.widths, model.spec.widths
    if ours != theirs:
        problem = f"{job.warm_start} has layers {_arrows(theirs)}, the job {_arrows(ours)}"
        raise ConfigError(where, "warm_start", problem, "make model.inputs, hidden and outputs the same")
    if job.model.hidden and job.model.activation != model.spec.activation:
        problem = f"{job.warm_start} has {model.spec.activation}, the job {job.model.activation}"
        raise ConfigError(where, "warm_start", problem, "make model.activation the same")
    if model.classes and job.data.classes and model.classes != job.data.classes:
        problem = f"{job.warm_start} knows the classes {', '.join(model.classes)}"
        raise ConfigError(where, "warm_start", problem, "make data.classes the same, in the same order")
    if job.data.standardise != (model.standardiser is not None):
        has = "has an input layer that standardises" if model.standardiser else "takes raw features"
        remedy = f"set data.standardise = {'true' if model.standardiser else 'false'}"
        raise ConfigError(where, "warm_start", f"{job.warm_start} {has}", remedy)


def _arrows(widths: tuple[int, ...]) -> str:
    return " → ".join(str(width) for width in widths)
