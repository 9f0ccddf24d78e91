"""Gradients beside torch autograd, in float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedloom.learning.losses import encode_targets, loss_function
from fedloom.learning.network import Network
from fedloom.learning.spec import ModelSpec

AUTOGRAD = {
    "mse": lambda z, y: 0.5 * functional.mse_loss(z, y, reduction="sum") / len(z),
    "huber": lambda z, y: functional.huber_loss(z, y, reduction="sum", delta=0.5) / len(z),
    "binary_cross_entropy": lambda z, y: functional.binary_cross_entropy_with_logits(z[:, 0], y.double()),
    "cross_entropy": functional.cross_entropy,
}


@pytest.mark.parametrize("loss", list(AUTOGRAD))
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", [(), (7,), (6, 5, 4)])
def test_gradients_are_autograd_s(loss, activation, hidden, make_data, rng):
    outputs = 1 if loss == "binary_cross_entropy" else 3
    spec = ModelSpec(inputs=5, outputs=outputs, hidden=hidden, activation=activation)
    data = make_data(spec, loss, 9)
    network = Network(spec, 1, 9, np.float64)
    network.weights[0] = rng.normal(size=network.weights.shape[1])
    network.inputs(9)[0] = data.x
    values = np.empty((1, 9))
    targets = encode_targets(data.y, loss, outputs, np.float64)[None]
    loss_function(loss, 0.5)(network.forward(9), targets, 1 / 9, values)
    network.backward(9)

    flat = torch.tensor(network.weights[0], requires_grad=True)
    y = torch.from_numpy(data.y)
    value = AUTOGRAD[loss](run(spec, flat, torch.from_numpy(data.x).double()), y.double() if y.ndim > 1 else y)
    value.backward()
    np.testing.assert_allclose(network.gradient[0], flat.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert values.mean() == pytest.approx(value.item(), rel=1e-12)


def run(spec, flat, a):
    """The model's logits, on torch's tape."""
    start = 0
    for number, (fan_in, fan_out) in enumerate(zip(spec.widths, spec.widths[1:], strict=False)):
        if number:
            a = torch.relu(a) if spec.activation == "relu" else torch.tanh(a)
        middle, stop = start + fan_in * fan_out, start + (fan_in + 1) * fan_out
        a = a @ flat[start:middle].reshape(fan_in, fan_out) + flat[middle:stop]
        start = stop
    return a
