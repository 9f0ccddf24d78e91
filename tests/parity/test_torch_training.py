"""Whole training runs beside PyTorch: same initial weights, same order of samples, weights equal to 1e-5.

Dropout is left out, since no two libraries draw the same masks.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedloom.learning.initialise import initial_weights
from fedloom.learning.model import Model
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.torch_io import from_torch, to_torch
from fedloom.learning.trainer import Trainer

SEED = 11
SAMPLES = 45
LOSSES = ("mse", "huber", "binary_cross_entropy", "cross_entropy")


def torch_losses(plan, logits, y):
    """The samples' losses, from torch's own functions."""
    match plan.loss:
        case "mse":
            return 0.5 * functional.mse_loss(logits, y, reduction="none").sum(1)
        case "huber":
            return functional.huber_loss(logits, y, reduction="none", delta=plan.huber_delta).sum(1)
        case "binary_cross_entropy":
            return functional.binary_cross_entropy_with_logits(logits[:, 0], y.float(), reduction="none")
        case "cross_entropy":
            return functional.cross_entropy(logits, y, reduction="none")


def torch_optimiser(plan, parameters):
    match plan.optimiser:
        case "sgd":
            return torch.optim.SGD(parameters, plan.learning_rate, weight_decay=plan.l2)
        case "momentum":
            return torch.optim.SGD(parameters, plan.learning_rate, plan.momentum, weight_decay=plan.l2)
        case "nesterov":
            return torch.optim.SGD(parameters, plan.learning_rate, plan.momentum, weight_decay=plan.l2, nesterov=True)
        case "adam":
            betas = (plan.beta1, plan.beta2)
            return torch.optim.Adam(parameters, plan.learning_rate, betas, plan.epsilon, weight_decay=plan.l2)


def torch_schedule(plan, optimiser, steps):
    if plan.schedule == "step":
        return torch.optim.lr_scheduler.StepLR(optimiser, plan.step_every, plan.step_factor)
    if plan.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    return torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0)


def batches(plan):
    rng, order = np.random.default_rng(SEED), np.arange(SAMPLES)
    size = plan.batch_size or SAMPLES
    for _ in range(plan.local_epochs):
        if plan.shuffle and plan.batch_size:
            rng.shuffle(order)
        yield from (order[start : start + size].copy() for start in range(0, SAMPLES, size))


def train_in_torch(module, plan, data):
    """The weights, and the mean loss over the last epoch."""
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    anchor = [parameter.detach().clone() for parameter in module.parameters()]
    optimiser = torch_optimiser(plan, module.parameters())
    steps = list(batches(plan))[: plan.max_steps or None]
    schedule = torch_schedule(plan, optimiser, len(steps))
    seen = []
    for chosen in steps:
        losses = torch_losses(plan, module(x[chosen]), y[chosen])
        if plan.class_weights:
            losses = losses * torch.tensor(plan.class_weights)[y[chosen]]
        seen += losses.tolist()
        objective = losses.mean()
        for parameter, start in zip(module.parameters(), anchor, strict=True):
            objective = objective + plan.l1 * parameter.abs().sum()
            objective = objective + 0.5 * plan.proximal_mu * ((parameter - start) ** 2).sum()
        optimiser.zero_grad()
        objective.backward()
        if plan.clip_norm:
            torch.nn.utils.clip_grad_norm_(module.parameters(), plan.clip_norm)
        optimiser.step()
        schedule.step()
    return from_torch(module, plan.loss).weights, np.mean(seen[-SAMPLES:])


def assert_equal_to_torch(plan, make_data, hidden=(8, 5), activation="tanh"):
    outputs = 1 if plan.loss == "binary_cross_entropy" else 3
    spec = ModelSpec(inputs=6, outputs=outputs, hidden=hidden, activation=activation)
    data = make_data(spec, plan.loss, SAMPLES)
    weights = initial_weights(spec, np.random.default_rng(0))
    module = to_torch(Model(spec=spec, loss=plan.loss, weights=weights))
    result = Trainer(spec, plan).fit(weights, data, np.random.default_rng(SEED))
    expected, loss = train_in_torch(module, plan, data)
    np.testing.assert_allclose(result.weights, expected, rtol=0, atol=1e-5)
    assert np.abs(result.weights - weights).max() > 1e-2
    if not plan.max_steps:
        assert result.mean_loss == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "nesterov", "adam"])
@pytest.mark.parametrize("hidden", [(), (8, 5)])
def test_every_loss_with_every_optimiser(loss, optimiser, hidden, make_data):
    rate = 0.01 if optimiser == "adam" else 0.05
    plan = TrainPlan(loss=loss, optimiser=optimiser, learning_rate=rate, batch_size=10, local_epochs=4, huber_delta=0.5)
    assert_equal_to_torch(plan, make_data, hidden)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("batch_size", [0, 1, 10, 45, 100])
def test_full_single_ragged_and_oversized_batches(activation, batch_size, make_data):
    plan = TrainPlan(loss="cross_entropy", learning_rate=0.05, batch_size=batch_size, local_epochs=3)
    assert_equal_to_torch(plan, make_data, activation=activation)


@pytest.mark.parametrize(
    "settings",
    [
        {"l1": 0.01},
        {"l2": 0.1},
        {"l2": 0.1, "optimiser": "adam", "learning_rate": 0.01},
        {"l2": 0.1, "optimiser": "nesterov", "momentum": 0.5},
        {"proximal_mu": 0.5},
        {"proximal_mu": 0.5, "l1": 0.01, "optimiser": "momentum"},
        {"clip_norm": 0.2},
        {"clip_norm": 0.2, "proximal_mu": 1.0, "optimiser": "momentum"},
        {"schedule": "step", "step_every": 3, "step_factor": 0.7},
        {"schedule": "cosine"},
        {"schedule": "cosine", "optimiser": "momentum", "clip_norm": 0.5},
        {"schedule": "step", "step_every": 4, "optimiser": "adam", "learning_rate": 0.01},
        {"max_steps": 7},
        {"shuffle": False},
        {"class_weights": (0.5, 2.0, 1.0)},
        {"class_weights": (0.5, 2.0, 1.0), "optimiser": "momentum", "l2": 0.01},
        {"optimiser": "adam", "learning_rate": 0.01, "beta1": 0.7, "beta2": 0.9, "epsilon": 1e-4},
    ],
    ids=str,
)
def test_penalties_clipping_schedules_and_weights(settings, make_data):
    plan = TrainPlan(
        **({"loss": "cross_entropy", "learning_rate": 0.1, "batch_size": 10, "local_epochs": 4} | settings)
    )
    assert_equal_to_torch(plan, make_data)
