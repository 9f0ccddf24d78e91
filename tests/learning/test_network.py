"""Gradients against finite differences, in float64; cohorts against separate clients."""

import numpy as np
import pytest

from fedloom.learning.losses import encode_targets, loss_function
from fedloom.learning.network import Network
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.step import TrainingStep

LOSSES = ("mse", "huber", "binary_cross_entropy", "cross_entropy")
DEPTHS = ((), (5,), (4, 3), (3, 4, 2))
ROWS = 6


def spec_for(loss, hidden, activation="tanh", dropout=0.0):
    outputs = 1 if loss == "binary_cross_entropy" else 3
    return ModelSpec(inputs=4, outputs=outputs, hidden=hidden, activation=activation, dropout=dropout)


def gradient_of(value, weights, step=1e-6):
    """Central differences of a scalar function of a float64 vector."""
    gradient = np.empty_like(weights)
    for i in range(len(weights)):
        high, low = weights.copy(), weights.copy()
        high[i] += step
        low[i] -= step
        gradient[i] = (value(high) - value(low)) / (2 * step)
    return gradient


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", DEPTHS)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradient_is_the_finite_difference(loss, activation, hidden, dropout, make_data, rng):
    spec = spec_for(loss, hidden, activation, dropout)
    data = make_data(spec, loss, ROWS)
    targets = encode_targets(data.y, loss, spec.outputs, np.float64)[None]
    network = Network(spec, 1, ROWS, np.float64)
    function = loss_function(loss, huber_delta=0.7)
    values = np.empty((1, ROWS))

    def mean_loss(weights):
        network.weights[0] = weights
        network.inputs(ROWS)[0] = data.x
        logits = network.forward(ROWS, np.random.default_rng(5))  # the same units are dropped every time
        function(logits, targets, 1.0 / ROWS, values)
        return values.mean()

    weights = rng.normal(size=spec.layout().size) * 0.8
    mean_loss(weights)
    network.backward(ROWS)
    analytic = network.gradient[0].copy()
    np.testing.assert_allclose(analytic, gradient_of(mean_loss, weights), rtol=1e-5, atol=1e-7)
    assert np.abs(analytic).max() > 1e-3


@pytest.mark.parametrize("penalty", [{"l1": 0.3}, {"l2": 0.2}, {"proximal_mu": 0.5}, {"l1": 0.1, "l2": 0.3}])
def test_a_step_descends_the_penalised_loss(penalty, make_data, rng):
    """One SGD step of rate η moves the weights by −η times the finite-difference gradient of loss + penalties."""
    spec = spec_for("mse", (3,))
    data = make_data(spec, "mse", ROWS)
    plan = TrainPlan(loss="mse", learning_rate=0.125, **penalty)
    anchor, weights = rng.normal(size=(2, spec.layout().size))
    step = TrainingStep(spec, plan, 1, ROWS, np.float64)

    def objective(w):
        hidden = np.tanh(data.x @ w[:12].reshape(4, 3) + w[12:15])
        errors = hidden @ w[15:24].reshape(3, 3) + w[24:] - data.y
        far = w - anchor
        return (
            0.5 * (errors**2).sum() / ROWS
            + plan.l1 * np.abs(w).sum()
            + 0.5 * plan.l2 * w @ w
            + 0.5 * plan.proximal_mu * far @ far
        )

    step.start(anchor)
    step.network.weights[0] = weights
    step.network.inputs(ROWS)[0] = data.x
    step.run(ROWS, data.y[None].astype(np.float64), 1.0 / ROWS, 0.125, rng, np.empty((1, ROWS)))
    moved = (weights - step.network.weights[0]) / 0.125
    np.testing.assert_allclose(moved, gradient_of(objective, weights), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "nesterov", "adam"])
def test_a_cohort_is_its_clients_one_by_one(loss, optimiser, make_data, rng):
    spec = spec_for(loss, (5, 4), "relu")
    plan = TrainPlan(loss=loss, optimiser=optimiser, l2=0.1, proximal_mu=0.2, clip_norm=0.5)
    clients, steps = 3, 4
    weights = rng.normal(size=(clients, spec.layout().size)).astype(np.float32)
    batches = [[make_data(spec, loss, ROWS) for _ in range(clients)] for _ in range(steps)]

    def train(chosen):
        step = TrainingStep(spec, plan, len(chosen), ROWS + 2)
        step.start(weights[chosen])
        for cohort in batches:
            for row, client in enumerate(chosen):
                step.network.inputs(ROWS)[row] = cohort[client].x
            targets = np.stack([encode_targets(cohort[client].y, loss, spec.outputs) for client in chosen])
            step.run(ROWS, targets, 1.0 / ROWS, 0.05, rng, np.empty((len(chosen), ROWS), np.float32))
        return step.network.weights

    together = train([0, 1, 2])
    for client in range(clients):
        np.testing.assert_allclose(together[client], train([client])[0], rtol=1e-5, atol=1e-6)


def test_rows_of_weight_zero_count_for_nothing(make_data, rng):
    """How a cohort with ragged batches is trained: client 1 has only two of the six rows."""
    spec = spec_for("cross_entropy", (5,), "relu")
    data = make_data(spec, "cross_entropy", ROWS)
    weights = rng.normal(size=spec.layout().size).astype(np.float32)
    targets = encode_targets(data.y, "cross_entropy", 3)

    def train(rows, share):
        step = TrainingStep(spec, TrainPlan(loss="cross_entropy"), 1, ROWS)
        step.start(weights)
        step.network.inputs(rows)[0] = data.x[:rows]
        step.run(rows, targets[None, :rows], share, 0.5, rng, np.empty((1, rows), np.float32))
        return step.network.weights[0]

    padded = np.array([0.5, 0.5, 0, 0, 0, 0], np.float32).reshape(1, ROWS, 1)
    np.testing.assert_allclose(train(ROWS, padded), train(2, 0.5), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_pass_does_not_see_the_one_before(activation, rng):
    """Fewer rows, and prediction after training with dropout, give what a new network gives."""
    spec = ModelSpec(inputs=3, outputs=2, hidden=(4, 5), activation=activation, dropout=0.5)
    used, x = Network(spec, 2, 6), rng.normal(size=(2, 4, 3))
    used.weights[:] = rng.normal(size=used.weights.shape)
    used.inputs(6)[:] = 7.0
    used.forward(6, rng)[:] = 1.0
    used.backward(6)
    fresh = Network(spec, 2, 4, trains=False)
    fresh.weights[:] = used.weights
    used.inputs(4)[:] = fresh.inputs(4)[:] = x
    np.testing.assert_allclose(used.forward(4), fresh.forward(4), rtol=1e-6)


def test_dropout_leaves_out_the_share_it_is_told_and_keeps_the_mean(rng):
    spec = ModelSpec(inputs=1, outputs=1, hidden=(20_000,), dropout=0.25)
    network = Network(spec, 1, 1)
    network.weights[:, :20_000] = 1.0  # hidden units are 1
    network.weights[:, 40_000:60_000] = 1.0  # the output is their sum
    network.inputs(1)[:] = 1.0
    assert network.forward(1)[0, 0, 0] == 20_000
    dropped = float(network.forward(1, rng)[0, 0, 0])
    units = dropped * 0.75
    assert abs(units - 15_000) < 5 * (20_000 * 0.25 * 0.75) ** 0.5
    assert units == pytest.approx(round(units), abs=0.05)


def test_more_rows_than_it_was_built_for_are_refused():
    with pytest.raises(ValueError, match="3 rows in a network built for 1 to 2"):
        Network(ModelSpec(inputs=1, outputs=1), 1, 2).inputs(3)
