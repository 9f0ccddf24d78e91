"""To and from PyTorch: an `nn.Sequential` of Linear, ReLU or Tanh, and Dropout layers."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from fedloom.errors import DataError, FedloomError
from fedloom.learning.layout import Array, Vector
from fedloom.learning.model import Model
from fedloom.learning.plan import Loss
from fedloom.learning.spec import MAX_DEPTH, Activation, ModelSpec

if TYPE_CHECKING:
    from torch import nn

_WHERE = "nn.Sequential"


def from_torch(module: "nn.Sequential", loss: Loss) -> Model:
    """A fedloom model with the weights of a torch one, copied as float32; its last layer gives logits.

    Raises:
        DataError: it holds anything else than Linear layers with ReLU or Tanh, and perhaps Dropout, between them.
        FedloomError: torch is not installed.
    """
    nn = _torch().nn
    linears: list[tuple[Array, Array]] = []
    activations: list[str] = []
    dropouts: list[float] = []
    for number, layer in enumerate(module):
        if isinstance(layer, nn.Linear):
            if len(activations) != len(linears):
                raise _refuse(f"layer {number}", "follows a Linear without an activation between them")
            linears.append(_linear(layer))
        elif isinstance(layer, nn.ReLU | nn.Tanh) and len(activations) == len(linears) - 1:
            activations.append("relu" if isinstance(layer, nn.ReLU) else "tanh")
        elif isinstance(layer, nn.Dropout) and activations and len(dropouts) < len(activations) == len(linears):
            dropouts.append(float(layer.p))
        else:
            raise _refuse(f"layer {number}", f"a {type(layer).__name__} cannot stand here")
    return _assemble(linears, activations, dropouts, loss)


def to_torch(model: Model) -> "nn.Sequential":
    """A torch module from *raw* features to logits: the standardiser is folded into the first layer.

    Raises:
        FedloomError: torch is not installed.
    """
    torch = _torch()
    nn = torch.nn

    tensors = [tensor.astype(np.float64) for tensor in model.spec.layout().views(model.weights)]
    if model.standardiser is not None:
        shift, scale = (part.astype(np.float64) for part in model.standardiser)
        tensors[0] = tensors[0] / scale[:, None]
        tensors[1] = tensors[1] - shift @ tensors[0]
    layers = []
    for number, (weight, bias) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
        linear = nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T.astype(np.float32)))
            linear.bias.copy_(torch.from_numpy(bias.astype(np.float32)))
        layers.append(linear)
        if number < len(model.spec.hidden):
            layers.append(nn.ReLU() if model.spec.activation == "relu" else nn.Tanh())
            if model.spec.dropout:
                layers.append(nn.Dropout(model.spec.dropout))
    return nn.Sequential(*layers)


def _assemble(linears: list[tuple[Array, Array]], activations: list[str], dropouts: list[float], loss: Loss) -> Model:
    if not linears or len(activations) != len(linears) - 1 or len(linears) - 1 > MAX_DEPTH:
        raise _refuse("", f"{len(linears)} Linear layers and {len(activations)} activations do not make a model")
    if len(set(activations)) > 1:
        raise _refuse("", "has both ReLU and Tanh")
    if len(set(dropouts)) > 1 or len(dropouts) not in (0, len(activations)):
        raise _refuse("", "does not have the same Dropout after every activation")
    activation: Activation = "tanh" if "tanh" in activations else "relu"
    widths = [linears[0][0].shape[0], *(weight.shape[1] for weight, _ in linears)]
    if any(weight.shape[0] != width for (weight, _), width in zip(linears, widths, strict=False)):
        raise _refuse("", "has Linear layers whose sizes do not fit together")
    spec = ModelSpec(
        inputs=widths[0],
        outputs=widths[-1],
        hidden=tuple(widths[1:-1]),
        activation=activation,
        dropout=dropouts[0] if dropouts else 0.0,
    )
    flat: Vector = np.concatenate([part.reshape(-1) for pair in linears for part in pair]).astype(np.float32)
    model = Model(spec=spec, loss=loss, weights=flat)
    try:
        model.check()
    except ValueError as error:
        raise _refuse("", str(error)) from None
    return model


def _linear(layer: "nn.Linear") -> tuple[Array, Array]:
    """(fan in, fan out) weights and (fan out,) bias; zeros if it has none."""
    weight: Array = layer.weight.detach().cpu().double().numpy().T
    has_bias = layer.bias is not None
    return weight, layer.bias.detach().cpu().double().numpy() if has_bias else np.zeros(weight.shape[1])


def _refuse(field: str, problem: str) -> DataError:
    return DataError(_WHERE, field, problem, "fedloom models are Linear, (ReLU | Tanh), [Dropout], …, Linear")


def _torch() -> ModuleType:
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise FedloomError("PyTorch is not installed: run pip install 'fedloom[torch]'") from None
