"""Models that come from torch and go to it."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from fedloom.errors import DataError, FedloomError
from fedloom.learning.initialise import initial_weights
from fedloom.learning.model import Model
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser
from fedloom.learning.torch_io import from_torch, to_torch


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(4, 3, bias=False)),
        nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)),
        nn.Sequential(
            nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 3)
        ),
    ],
    ids=["linear", "no-bias", "relu", "tanh-dropout"],
)
def test_a_torch_model_predicts_the_same(module, rng):
    x = rng.normal(size=(20, 4)).astype(np.float32)
    model = from_torch(module, "cross_entropy")
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.logits(x), expected, atol=1e-6)
    again = from_torch(to_torch(model), "cross_entropy")
    assert again.spec == model.spec
    np.testing.assert_array_equal(again.weights, model.weights)


def test_dropout_is_kept():
    model = from_torch(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Dropout(0.25), nn.Linear(3, 2)), "mse")
    assert model.spec == ModelSpec(inputs=2, outputs=2, hidden=(3,), dropout=0.25)


def test_normalisation_is_folded_into_the_torch_model(rng):
    spec = ModelSpec(inputs=4, outputs=3, hidden=(5,))
    scaling = Standardiser(np.array([1, 2, 3, 4], np.float32), np.array([0.5, 2, 1, 10], np.float32))
    model = Model(spec=spec, loss="mse", weights=initial_weights(spec, rng), standardiser=scaling)
    x = rng.normal(size=(20, 4)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(to_torch(model)(torch.from_numpy(x)).numpy(), model.logits(x), atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 1)], "layer 1: a GELU cannot stand here"),
        ([nn.Linear(2, 3), nn.Linear(3, 1)], "layer 1: follows a Linear without an activation"),
        ([nn.Linear(2, 3), nn.ReLU()], "1 Linear layers and 1 activations"),
        ([nn.ReLU(), nn.Linear(2, 1)], "layer 0: a ReLU cannot"),
        ([], "0 Linear layers"),
        ([nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)], "both ReLU and Tanh"),
        ([nn.Linear(2, 3), nn.ReLU(), nn.Linear(4, 1)], "sizes do not fit"),
        ([nn.Dropout(0.5), nn.Linear(2, 1)], "layer 0: a Dropout cannot"),
        (
            [nn.Linear(2, 3), nn.ReLU(), nn.Dropout(0.1), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)],
            "not have the same Dropout",
        ),
    ],
)
def test_another_family_is_refused(layers, message):
    with pytest.raises(DataError, match=message):
        from_torch(nn.Sequential(*layers), "mse")


def test_without_torch_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(FedloomError, match=r"pip install 'fedloom\[torch\]'"):
        from_torch(nn.Sequential(nn.Linear(1, 1)), "mse")
