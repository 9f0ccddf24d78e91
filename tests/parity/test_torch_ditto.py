"""Ditto's two models beside a plain loop in PyTorch, in float64: min_v F(v) + ½·λ·‖v − w‖², from where v was."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedloom.learning.initialise import initial_weights
from fedloom.learning.personal import Personal
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.trainer import Trainer

SPEC = ModelSpec(inputs=6, outputs=3)
SAMPLES, BATCH, EPOCHS = 44, 10, 3
PLAN = TrainPlan(loss="cross_entropy", learning_rate=0.1, batch_size=BATCH, proximal_mu=0.05, l2=0.01, shuffle=False)
DITTO = Personal(method="ditto", strength=0.7, epochs=EPOCHS, learning_rate=0.2)


def torch_loop(own, common, data):
    """v ← v − η·(∇F(v) + λ·(v − w))."""
    v, w = torch.tensor(own), torch.tensor(common)
    x, y = torch.tensor(data.x, dtype=torch.float64), torch.from_numpy(data.y)
    for _ in range(EPOCHS):
        for start in range(0, SAMPLES, BATCH):
            rows = slice(start, start + BATCH)
            v.requires_grad_(True)
            loss = functional.cross_entropy(x[rows] @ v[:18].reshape(6, 3) + v[18:], y[rows])
            loss = loss + 0.5 * PLAN.l2 * (v * v).sum() + 0.5 * DITTO.strength * ((v - w) ** 2).sum()
            (gradient,) = torch.autograd.grad(loss, v)
            v = (v - DITTO.learning_rate * gradient).detach()
    return v.numpy()


@pytest.fixture
def data(make_data):
    return make_data(SPEC, "cross_entropy", SAMPLES)


@pytest.fixture
def models():
    """(v, w)."""
    return [initial_weights(SPEC, np.random.default_rng(seed)).astype(np.float64) for seed in (0, 1)]


def test_the_personal_model_is_pulled_to_the_federations_and_not_to_where_it_began(data, models):
    own, common = models
    trainer = Trainer(SPEC, DITTO.plan(PLAN), np.float64)
    fit = trainer.fit(own, data, np.random.default_rng(0), anchor=common)
    np.testing.assert_allclose(fit.weights, torch_loop(own, common, data), rtol=0, atol=1e-12)
    elsewhere = trainer.fit(own, data, np.random.default_rng(0))
    assert np.abs(elsewhere.weights - fit.weights).max() > 1e-3


def test_an_anchor_of_another_model_is_refused(data, models):
    with pytest.raises(ValueError, match="anchor of shape"):
        Trainer(SPEC, PLAN, np.float64).fit(models[0], data, np.random.default_rng(0), anchor=np.zeros(3))


@pytest.mark.parametrize(
    ("personal", "expected"),
    [
        (DITTO, (EPOCHS, 0.2, 0.7)),
        (Personal(method="ditto"), (1, 0.1, 0.1)),
        (Personal(method="fine_tune", epochs=9), (9, 0.1, 0.0)),
    ],
)
def test_the_personal_plan_is_the_rounds_but_for_what_draws_it_to_the_others(personal, expected):
    plan = personal.plan(TrainPlan(loss="mse", l2=0.3, proximal_mu=0.4, correction="feddyn", local_epochs=4))
    assert (plan.local_epochs, plan.learning_rate, plan.proximal_mu) == expected
    assert (plan.correction, plan.l2) == ("none", 0.3)
