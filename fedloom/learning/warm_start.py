"""Starting a job from a model that exists: a saved fedloom model, or an ONNX file of the same family."""

from pathlib import Path

import msgspec
import numpy as np

from fedloom.errors import DataError
from fedloom.learning.layout import Vector
from fedloom.learning.model import Model
from fedloom.learning.model_file import load
from fedloom.learning.onnx_import import import_onnx
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser


def warm_start(path: Path, spec: ModelSpec, standardiser: Standardiser | None = None) -> Vector:
    """The weights in a file, for a model of shape `spec` whose inputs `standardiser` has standardised.

    Raises:
        DataError: the file cannot be read, or holds a model of another shape.
        FedloomError: it ends in .onnx and onnx is not installed.
    """
    model = import_onnx(path) if path.suffix == ".onnx" else load(path)
    # Neither matters to the weights: dropout never, the activation if there is no hidden layer.
    activation = spec.activation if not spec.hidden else model.spec.activation
    if msgspec.structs.replace(model.spec, dropout=spec.dropout, activation=activation) != spec:
        problem = f"holds widths {model.spec.widths} with {model.spec.activation}"
        remedy = f"the job needs {spec.widths} with {spec.activation}"
        raise DataError(str(path), "", problem, remedy)
    return rebase(model, standardiser)


def rebase(model: Model, standardiser: Standardiser | None) -> Vector:
    """The model's weights, changed so that they give the same outputs for inputs of another standardiser.

    With z = (x − a)/s and z' = (x − a')/s': z = z'·s'/s + (a' − a)/s, so W' = (s'/s)·W and b' = b + ((a' − a)/s)·W.
    """
    shift, scale = _parts(model.standardiser, model.spec.inputs)
    new_shift, new_scale = _parts(standardiser, model.spec.inputs)
    flat = model.weights.copy()
    weight, bias, *_ = model.spec.layout().views(flat)
    exact = weight.astype(np.float64)
    bias += ((new_shift - shift) / scale) @ exact
    weight[:] = exact * (new_scale / scale)[:, None]
    return flat


def _parts(standardiser: Standardiser | None, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    if standardiser is None:
        return np.zeros(inputs), np.ones(inputs)
    return standardiser.shift.astype(np.float64), standardiser.scale.astype(np.float64)
