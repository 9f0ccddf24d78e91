"""Steps that SCAFFOLD and FedDyn correct, beside a plain loop in PyTorch, both in float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedloom.learning.corrections import feddyn_change, feddyn_term, scaffold_change, scaffold_term
from fedloom.learning.initialise import initial_weights
from fedloom.learning.plan import TrainPlan
from fedloom.learning.schedules import learning_rate
from fedloom.learning.spec import ModelSpec
from fedloom.learning.trainer import Trainer

SPEC = ModelSpec(inputs=6, outputs=3)
SIZE = SPEC.layout().size
SAMPLES, BATCH, EPOCHS = 44, 10, 3
STEPS = EPOCHS * 5


def plan_with(**settings):
    base = {"loss": "cross_entropy", "learning_rate": 0.1, "batch_size": BATCH, "local_epochs": EPOCHS}
    return TrainPlan(**(base | {"shuffle": False} | settings))


def torch_loop(weights, data, plan, linear, seen=None):
    """w ← w − η·(∇f(w) + μ·(w − w₀) + b); `seen` takes each step's ∇f(w)."""
    start = torch.tensor(weights, dtype=torch.float64)
    w, b = start.clone(), torch.tensor(linear, dtype=torch.float64)
    x, y = torch.tensor(data.x, dtype=torch.float64), torch.from_numpy(data.y)
    for step in range(STEPS):
        rows = slice(step % 5 * BATCH, (step % 5 + 1) * BATCH)
        w.requires_grad_(True)
        logits = x[rows] @ w[:18].reshape(6, 3) + w[18:]
        (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, y[rows]), w)
        if seen is not None:
            seen.append(gradient.numpy())
        with torch.no_grad():
            w = w - learning_rate(plan, step, STEPS) * (gradient + plan.proximal_mu * (w - start) + b)
    return w.detach().numpy()


@pytest.fixture
def data(make_data):
    return make_data(SPEC, "cross_entropy", SAMPLES)


@pytest.fixture
def weights():
    return initial_weights(SPEC, np.random.default_rng(0)).astype(np.float64)


def vectors(count):
    return np.random.default_rng(5).normal(scale=0.3, size=(count, SIZE))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_linear_term_is_added_to_each_gradient(schedule, data, weights):
    plan = plan_with(correction="scaffold", schedule=schedule)
    (linear,) = vectors(1)
    result = Trainer(SPEC, plan, np.float64).fit(weights, data, np.random.default_rng(0), linear=linear)
    np.testing.assert_allclose(result.weights, torch_loop(weights, data, plan, linear), rtol=0, atol=1e-12)
    assert result.rate_sum == pytest.approx(sum(learning_rate(plan, step, STEPS) for step in range(STEPS)))


def test_a_variate_becomes_the_mean_of_the_gradients_that_were_seen(data, weights):
    plan = plan_with(correction="scaffold")
    own, common = vectors(2)
    seen = []
    expected = torch_loop(weights, data, plan, scaffold_term(own, common), seen)
    result = Trainer(SPEC, plan, np.float64).fit(
        weights, data, np.random.default_rng(0), linear=scaffold_term(own, common)
    )
    change = scaffold_change(expected - weights, result.rate_sum, common)
    np.testing.assert_allclose(own + change, np.mean(seen, axis=0), rtol=0, atol=1e-6)  # the rate is a float32


def test_feddyn_adds_a_linear_and_a_proximal_term(data, weights):
    plan = plan_with(correction="feddyn", proximal_mu=0.7)
    (own,) = vectors(1)
    result = Trainer(SPEC, plan, np.float64).fit(weights, data, np.random.default_rng(0), linear=feddyn_term(own))
    np.testing.assert_allclose(result.weights, torch_loop(weights, data, plan, -own), rtol=0, atol=1e-12)
    delta = result.weights - weights
    np.testing.assert_allclose(own + feddyn_change(delta, 0.7), own - 0.7 * delta, rtol=0, atol=1e-6)


def test_the_next_round_begins_without_the_term_of_the_last(data, weights):
    plan = plan_with(correction="scaffold")
    trainer = Trainer(SPEC, plan, np.float64)
    trainer.fit(weights, data, np.random.default_rng(0), linear=vectors(1)[0])
    plain = trainer.fit(weights, data, np.random.default_rng(0))
    expected = Trainer(SPEC, plan_with(), np.float64).fit(weights, data, np.random.default_rng(0))
    np.testing.assert_array_equal(plain.weights, expected.weights)


def test_a_term_that_no_plan_asks_for_is_refused(data, weights):
    with pytest.raises(ValueError, match="correction none"):
        Trainer(SPEC, plan_with(), np.float64).fit(weights, data, np.random.default_rng(0), linear=vectors(1)[0])
    plan = plan_with(correction="scaffold")
    with pytest.raises(ValueError, match="linear term of shape"):
        Trainer(SPEC, plan, np.float64).fit(weights, data, np.random.default_rng(0), linear=np.zeros(3))
