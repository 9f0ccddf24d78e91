"""Optima and metrics beside scikit-learn's."""

import numpy as np
import pytest
from sklearn import linear_model, metrics, neural_network, preprocessing

from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate
from fedloom.learning.initialise import initial_weights
from fedloom.learning.metrics import AUC_BINS
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Moments
from fedloom.learning.trainer import Trainer


def optimum(spec, data, **settings):
    """Where full-batch training ends, in float64: [coefficients, biases]."""
    plan = TrainPlan(**({"batch_size": 0, "local_epochs": 3000, "optimiser": "nesterov"} | settings))
    result = Trainer(spec, plan, np.float64).fit(np.zeros(spec.layout().size), data, np.random.default_rng(0))
    return spec.layout().views(result.weights)


@pytest.fixture
def table(rng):
    x = rng.normal(size=(200, 5)).astype(np.float32)
    y = (x @ rng.normal(size=(5, 2)) + [1.0, -2.0] + 0.3 * rng.normal(size=(200, 2))).astype(np.float32)
    return Dataset(x, y)


def test_linear_regression_is_least_squares(table):
    spec = ModelSpec(inputs=5, outputs=2)
    coefficients, bias = optimum(spec, table, loss="mse")
    expected = linear_model.LinearRegression().fit(table.x.astype(np.float64), table.y.astype(np.float64))
    np.testing.assert_allclose(coefficients.T, expected.coef_, atol=1e-6)
    np.testing.assert_allclose(bias, expected.intercept_, atol=1e-6)


def test_l2_is_ridge(table):
    """Ours is 1/(2m)·Σe² + ½·l2·‖w‖², biases too, so alpha = l2·m on columns that end with ones."""
    spec = ModelSpec(inputs=5, outputs=2)
    coefficients, bias = optimum(spec, table, loss="mse", l2=0.3)
    x = np.hstack([table.x, np.ones((200, 1))]).astype(np.float64)
    expected = linear_model.Ridge(alpha=0.3 * 200, fit_intercept=False, tol=1e-12).fit(x, table.y.astype(np.float64))
    np.testing.assert_allclose(np.vstack([coefficients, bias[None]]).T, expected.coef_, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_logistic_and_softmax_regression_reach_sklearn_s_optimum(classes, rng):
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, classes)) + rng.normal(size=(300, classes))).argmax(1)
    x1 = np.hstack([x, np.ones((300, 1), np.float32)])
    spec = ModelSpec(inputs=4, outputs=1 if classes == 2 else classes)
    loss = "binary_cross_entropy" if classes == 2 else "cross_entropy"
    coefficients, bias = optimum(spec, Dataset(x, y), loss=loss, l2=0.02, learning_rate=0.3)
    # ½‖w‖² + C·Σloss, so C = 1/(l2·m); the bias is penalised as ours is
    expected = linear_model.LogisticRegression(C=1 / (0.02 * 300), fit_intercept=False, tol=1e-10, max_iter=10_000)
    expected.fit(x1.astype(np.float64), y)
    np.testing.assert_allclose(np.vstack([coefficients, bias[None]]).T, expected.coef_, atol=1e-5)


def test_single_sample_sgd_is_sgd_regressor(table):
    """One epoch, one sample a step, in the data's order; sklearn's squared error is ½e² too."""
    spec = ModelSpec(inputs=5, outputs=1)
    y = table.y[:, :1]
    plan = TrainPlan(loss="mse", batch_size=1, shuffle=False, learning_rate=0.02, local_epochs=3)
    result = Trainer(spec, plan).fit(np.zeros(6, np.float32), Dataset(table.x, y), np.random.default_rng(0))
    theirs = linear_model.SGDRegressor(
        penalty=None, learning_rate="constant", eta0=0.02, shuffle=False, max_iter=3, tol=None
    ).fit(table.x, y[:, 0])
    np.testing.assert_allclose(result.weights, [*theirs.coef_, *theirs.intercept_], atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_an_mlp_trains_as_mlp_regressor_does(activation, table):
    """Nesterov over ragged mini-batches in the data's order; sklearn's gradient is that of ½·Σ over outputs, too."""
    spec = ModelSpec(inputs=5, outputs=2, hidden=(7,), activation=activation)
    theirs = neural_network.MLPRegressor(
        hidden_layer_sizes=(7,), activation=activation, solver="sgd", alpha=0.0, batch_size=30, shuffle=False,
        momentum=0.8, learning_rate_init=0.01, max_iter=1, random_state=0,
    )  # fmt: skip
    theirs.partial_fit(table.x[:30], table.y[:30])  # makes the layers
    start = np.concatenate(
        [part.ravel() for pair in zip(theirs.coefs_, theirs.intercepts_, strict=True) for part in pair]
    ).astype(np.float32)
    for velocity in theirs._optimizer.velocities:
        velocity[...] = 0.0
    theirs.partial_fit(table.x, table.y)
    expected = np.concatenate(
        [part.ravel() for pair in zip(theirs.coefs_, theirs.intercepts_, strict=True) for part in pair]
    )
    plan = TrainPlan(loss="mse", optimiser="nesterov", momentum=0.8, learning_rate=0.01, batch_size=30, shuffle=False)
    result = Trainer(spec, plan).fit(start, table, np.random.default_rng(0))
    np.testing.assert_allclose(result.weights, expected, atol=1e-5)


def test_standardisation_is_standard_scaler_s(table):
    expected = preprocessing.StandardScaler().fit_transform(table.x.astype(np.float64))
    parts = Moments.of(table.x[:70]) + Moments.of(table.x[70:])
    np.testing.assert_allclose(parts.standardiser().apply(table.x), expected, atol=1e-5)


def test_classification_figures_are_sklearn_s(rng):
    spec = ModelSpec(inputs=4, outputs=5)
    weights = initial_weights(spec, rng)
    x, y = rng.normal(size=(500, 4)).astype(np.float32), rng.integers(0, 4, 500)  # class 4 does not occur
    figures = evaluate(spec, "cross_entropy", weights, Dataset(x, y)).summary()
    logits = x @ weights[:20].reshape(4, 5) + weights[20:]
    predicted = logits.argmax(1)
    assert figures["accuracy"] == metrics.accuracy_score(y, predicted)
    for average, suffixes in (("macro", [""]), (None, [f"_{number}" for number in range(5)])):
        theirs = metrics.precision_recall_fscore_support(y, predicted, average=average, zero_division=0)
        for name, values in zip(("precision", "recall", "f1"), theirs, strict=False):
            ours = [figures[name + suffix] for suffix in suffixes]
            np.testing.assert_allclose(ours, np.atleast_1d(values), atol=1e-12)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert figures["loss"] == pytest.approx(metrics.log_loss(y, probabilities, labels=range(5)), rel=1e-5)


def test_binary_figures_are_sklearn_s(rng):
    spec = ModelSpec(inputs=3, outputs=1)
    weights = np.array([1.0, -2.0, 0.5, 0.3], np.float32)
    x = rng.normal(size=(2000, 3)).astype(np.float32)
    score = 1 / (1 + np.exp(-(x @ weights[:3].astype(np.float64) + weights[3])))
    y = (score > rng.random(2000)).astype(np.int64)
    figures = evaluate(spec, "binary_cross_entropy", weights, Dataset(x, y)).summary()
    assert figures["f1"] == pytest.approx(metrics.f1_score(y, score > 0.5))
    assert figures["precision"] == pytest.approx(metrics.precision_score(y, score > 0.5))
    assert figures["loss"] == pytest.approx(metrics.log_loss(y, score), rel=1e-5)
    assert figures["auc"] == pytest.approx(metrics.roc_auc_score(y, np.floor(score * AUC_BINS)), abs=1e-5)
    assert figures["auc"] == pytest.approx(metrics.roc_auc_score(y, score), abs=1e-3)


def test_regression_figures_are_sklearn_s(table, rng):
    spec = ModelSpec(inputs=5, outputs=2)
    weights = initial_weights(spec, rng)
    figures = evaluate(spec, "mse", weights, table).summary()
    predicted = table.x @ weights[:10].reshape(5, 2) + weights[10:]
    assert figures["mse"] == pytest.approx(metrics.mean_squared_error(table.y, predicted), rel=1e-5)
    assert figures["loss"] == pytest.approx(figures["mse"], rel=1e-5)  # ½ of the sum over two outputs
    assert figures["mae"] == pytest.approx(metrics.mean_absolute_error(table.y, predicted), rel=1e-5)
    assert figures["r2"] == pytest.approx(metrics.r2_score(table.y, predicted), rel=1e-5)
