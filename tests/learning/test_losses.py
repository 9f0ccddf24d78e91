"""Values against their definitions, and numbers that overflow a careless implementation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.learning.losses import encode_targets, loss_function, sigmoid, softmax

finite = st.floats(-1e4, 1e4, width=32)


def value_and_gradient(loss, logit, target, **settings):
    logits = np.array([[logit]], np.float64).reshape(1, 1, -1)
    targets = np.array([[target]], np.float64).reshape(1, 1, -1)
    values = np.empty((1, 1))
    loss_function(loss, **settings)(logits, targets, 1.0, values)
    return values[0, 0], logits[0, 0]


@given(finite, finite)
def test_squared_error_follows_the_half_m_convention(z, t):
    value, gradient = value_and_gradient("mse", z, t)
    assert value == pytest.approx(0.5 * (z - t) ** 2)
    assert gradient[0] == pytest.approx(z - t)


@given(finite, finite, st.floats(0.01, 100.0))
def test_huber_is_its_two_branches(z, t, delta):
    value, gradient = value_and_gradient("huber", z, t, huber_delta=delta)
    error = z - t
    expected = 0.5 * error**2 if abs(error) <= delta else delta * (abs(error) - 0.5 * delta)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert gradient[0] == pytest.approx(np.clip(error, -delta, delta))


@given(finite, st.sampled_from([0.0, 1.0]))
def test_binary_cross_entropy_is_finite_and_right_for_any_logit(z, t):
    value, gradient = value_and_gradient("binary_cross_entropy", z, t)
    assert value == pytest.approx(np.logaddexp(0.0, z) - t * z, abs=1e-9)
    assert gradient[0] == pytest.approx(0.5 + 0.5 * np.tanh(z / 2) - t)


@given(st.lists(finite, min_size=2, max_size=6), st.data())
def test_cross_entropy_is_finite_and_its_gradient_sums_to_zero(z, data):
    number = data.draw(st.integers(0, len(z) - 1))
    target = np.eye(len(z))[number]
    value, gradient = value_and_gradient("cross_entropy", z, target)
    assert value == pytest.approx(np.logaddexp.reduce(z) - z[number], rel=1e-9, abs=1e-9)
    assert np.isfinite(gradient).all()
    assert abs(gradient.sum()) < 1e-9


@pytest.mark.parametrize("loss", ["mse", "huber", "binary_cross_entropy", "cross_entropy"])
def test_scale_is_a_factor_of_the_gradient_only(loss, rng):
    z, t = rng.normal(size=(2, 2, 3, 1)) if loss == "binary_cross_entropy" else rng.normal(size=(2, 2, 3, 4))
    function = loss_function(loss)
    plain, scaled, values, again = z.copy(), z.copy(), np.empty((2, 3)), np.empty((2, 3))
    function(plain, t, 1.0, values)
    shares = rng.random((2, 3, 1))
    function(scaled, t, shares, again)
    np.testing.assert_array_equal(values, again)
    np.testing.assert_allclose(scaled, plain * shares)


def test_values_may_be_left_out(rng):
    for loss in ("mse", "huber", "binary_cross_entropy", "cross_entropy"):
        with_values = rng.normal(size=(1, 2, 2))
        without, targets = with_values.copy(), np.eye(2)[None]
        loss_function(loss)(with_values, targets, 1.0, np.empty((1, 2)))
        loss_function(loss)(without, targets, 1.0, None)
        np.testing.assert_array_equal(with_values, without)


def test_sigmoid_and_softmax_do_not_overflow():
    edge = np.array([[-1e30, 0.0, 1e30]], np.float32)
    sigmoid(edge)
    np.testing.assert_array_equal(edge, [[0.0, 0.5, 1.0]])
    edge = np.array([[-1e30, 1e30, 1e30]], np.float32)
    softmax(edge)
    np.testing.assert_array_equal(edge, [[0.0, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("y", "loss", "outputs", "message"),
    [
        (np.array([0, 3]), "cross_entropy", 3, "class numbers from 0 to 3 for 3 classes"),
        (np.array([-1, 0]), "cross_entropy", 3, "class numbers from -1 to 0"),
        (np.array([0, 2]), "binary_cross_entropy", 1, "for 2 classes"),
        (np.array([0.0, 1.0]), "cross_entropy", 2, "must be a vector of integers, not float64"),
        (np.array([[0], [1]]), "cross_entropy", 2, r"of shape \(2, 1\)"),
        (np.zeros((2, 3)), "mse", 2, r"shape \(2, 3\) for 2 outputs"),
    ],
)
def test_targets_that_do_not_fit_are_refused(y, loss, outputs, message):
    with pytest.raises(ValueError, match=message):
        encode_targets(y, loss, outputs)
