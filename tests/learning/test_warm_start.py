"""Weights from a file give the outputs that the file's model gave, whatever the new input layer."""

import numpy as np
import pytest

from fedloom.errors import DataError
from fedloom.learning.initialise import initial_weights
from fedloom.learning.model import Model
from fedloom.learning.model_file import save
from fedloom.learning.onnx_export import export_onnx
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser
from fedloom.learning.warm_start import warm_start

SPEC = ModelSpec(inputs=3, outputs=2, hidden=(5,), activation="tanh")


@pytest.fixture
def model(rng):
    scaling = Standardiser(np.array([1, -2, 30], np.float32), np.array([0.5, 2, 10], np.float32))
    return Model(spec=SPEC, loss="cross_entropy", weights=initial_weights(SPEC, rng), standardiser=scaling)


@pytest.mark.parametrize("write", [save, export_onnx])
@pytest.mark.parametrize("standardised", [True, False])
def test_the_outputs_are_the_same_under_another_standardiser(write, standardised, model, rng, tmp_path):
    path = tmp_path / ("m.onnx" if write is export_onnx else "m.fedloom")
    write(model, path)
    new = Standardiser(np.array([0, 5, 20], np.float32), np.array([1, 3, 7], np.float32)) if standardised else None
    weights = warm_start(path, SPEC, new)
    again = Model(spec=SPEC, loss="cross_entropy", weights=weights, standardiser=new)
    x = (rng.normal(size=(40, 3)) * [1, 3, 8] + [1, 0, 25]).astype(np.float32)
    np.testing.assert_allclose(again.logits(x), model.logits(x), atol=1e-5)


def test_the_same_standardiser_leaves_the_weights_as_they_are(model, tmp_path):
    save(model, tmp_path / "m")
    np.testing.assert_array_equal(warm_start(tmp_path / "m", SPEC, model.standardiser), model.weights)


def test_dropout_may_differ_but_not_the_shape(model, tmp_path):
    save(model, tmp_path / "m")
    warm_start(tmp_path / "m", ModelSpec(inputs=3, outputs=2, hidden=(5,), activation="tanh", dropout=0.5))
    for other in (
        ModelSpec(inputs=3, outputs=2, hidden=(6,), activation="tanh"),
        ModelSpec(inputs=3, outputs=2, hidden=(5,)),
    ):
        with pytest.raises(DataError, match=r"holds widths \(3, 5, 2\) with tanh; the job needs \(3, "):
            warm_start(tmp_path / "m", other)
