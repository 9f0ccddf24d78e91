"""Reads a linear model or MLP from ONNX, to start from it: our own exports, and others' of the same family.

Understood is one chain from the only input: perhaps Sub and Div by constants (our normalisation), then Gemm or
MatMul + Add with constants, Relu or Tanh between them, Dropout, Identity and Flatten anywhere, and a head of Softmax or
Sigmoid. Weights are data inside the file; nothing outside of it is ever opened.
"""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedloom.errors import DataError
from fedloom.learning.layout import Array, Vector
from fedloom.learning.model import Model
from fedloom.learning.model_file import read_bounded
from fedloom.learning.onnx_export import need_onnx
from fedloom.learning.plan import Loss
from fedloom.learning.spec import MAX_DEPTH, MAX_WIDTH, Activation, ModelSpec
from fedloom.learning.standardise import Standardiser

_PASS_THROUGH = ("Dropout", "Identity", "Flatten")
_LABELS = ("ArgMax", "Greater")
"""How a label is read off logits or probabilities."""
_HEADS: dict[str, Loss] = {"Softmax": "cross_entropy", "Sigmoid": "binary_cross_entropy"}


def import_onnx(path: Path) -> Model:
    """The model in an ONNX file. Without a Softmax or Sigmoid at its end, the loss is mse; names are not kept.

    Raises:
        DataError: it cannot be read, or is of another family.
        FedloomError: onnx is not installed.
    """
    onnx = need_onnx()
    data = read_bounded(path)
    unreadable = importlib.import_module("google.protobuf.message").DecodeError
    try:
        return _parse(onnx, data)
    except (ValueError, onnx.checker.ValidationError, unreadable) as error:
        problem = str(error).strip().splitlines()[0]
        remedy = "only linear models and MLPs with Relu or Tanh can be imported"
        raise DataError(str(path), "", f"is not an ONNX model that fedloom can start from: {problem}", remedy) from None


def _parse(onnx: Any, data: bytes) -> Model:
    proto = onnx.load_from_string(data)
    onnx.checker.check_model(proto)
    return _Reader(onnx, proto.graph).model()


class _Dense(NamedTuple):
    weight: Array
    """(fan in, fan out)."""
    bias: Array
    """(fan out,)."""


class _Reader:
    """Walks the chain of nodes from the input to the head."""

    def __init__(self, onnx: Any, graph: Any) -> None:  # onnx publishes no types
        self._onnx = onnx
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
            raise ValueError("it keeps its weights in another file")
        self._tensors: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in self._tensors]
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs")
        self._value = inputs[0]
        self._nodes = [node for node in graph.node if node.op_type != "Constant"]
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._tensors[node.output[0]] = node.attribute[0].t
        self._shift: Array | None = None
        self._scale: Array | None = None
        self._layers: list[_Dense] = []
        self._activations: list[Activation] = []
        self._loss: Loss = "mse"

    def model(self) -> Model:
        while (node := self._next()) is not None:
            if node.op_type in _HEADS:
                self._head(node)
                break
            self._take(node)
            self._value = node.output[0]
        return self._assemble()

    def _next(self) -> Any:
        """The node that reads the current value; where a classifier also takes the label from it, the head wins."""
        readers = [node for node in self._nodes if self._value in node.input]
        heads = [node for node in readers if node.op_type in _HEADS]
        if len(heads) == 1 and all(node.op_type in (*_LABELS, *_HEADS) for node in readers):
            return heads[0]
        if len(readers) > 1:
            raise ValueError(f"{self._value!r} is read by {len(readers)} nodes")
        return readers[0] if readers else None

    def _take(self, node: Any) -> None:
        kind = node.op_type
        if kind in ("Gemm", "MatMul"):
            self._dense(node)
        elif kind == "Add" and self._layers and len(self._activations) < len(self._layers):
            last = self._layers[-1]
            self._layers[-1] = last._replace(bias=last.bias + self._row(self._other(node), len(last.bias)))
        elif kind in ("Relu", "Tanh") and len(self._activations) == len(self._layers) - 1:
            self._activations.append("relu" if kind == "Relu" else "tanh")
        elif kind == "Sub" and not self._layers and self._shift is None and self._scale is None:
            self._shift = self._second(node)
        elif kind == "Div" and not self._layers and self._scale is None:
            self._scale = self._second(node)
        elif kind not in _PASS_THROUGH:
            raise ValueError(f"node {node.name or node.output[0]!r}: {kind} cannot stand here")

    def _dense(self, node: Any) -> None:
        if len(self._activations) != len(self._layers):
            raise ValueError(f"node {node.name!r}: two layers without an activation between them")
        if node.input[0] != self._value:
            raise ValueError(f"node {node.name!r}: the constant must be the second factor")
        settings = {item.name: self._onnx.helper.get_attribute_value(item) for item in node.attribute}
        if settings.get("transA", 0):
            raise ValueError(f"node {node.name!r}: transA is not understood")
        weight = self._constant(node.input[1]) * settings.get("alpha", 1.0)
        if weight.ndim != 2:
            raise ValueError(f"node {node.name!r}: weights of shape {weight.shape}")
        if settings.get("transB", 0):
            weight = weight.T
        bias = np.zeros(weight.shape[1])
        if len(node.input) > 2 and node.input[2]:
            bias = self._row(node.input[2], weight.shape[1]) * settings.get("beta", 1.0)
        self._layers.append(_Dense(weight, bias))

    def _head(self, node: Any) -> None:
        kind = node.op_type
        after = [reader.op_type for reader in self._nodes if node.output[0] in reader.input]
        if set(after) - set(_LABELS):
            raise ValueError(f"{kind} is followed by {', '.join(after)}: it can only be the head")
        if not self._layers or len(self._activations) != len(self._layers) - 1:
            raise ValueError(f"{kind} does not follow a layer")
        self._loss = _HEADS[kind]

    def _assemble(self) -> Model:
        layers = self._layers
        if not layers or len(self._activations) != len(layers) - 1 or len(layers) - 1 > MAX_DEPTH:
            raise ValueError(f"{len(layers)} layers and {len(self._activations)} activations do not make a model")
        if len(set(self._activations)) > 1:
            raise ValueError("it has both Relu and Tanh")
        widths = [layers[0].weight.shape[0], *(layer.weight.shape[1] for layer in layers)]
        if any(layer.weight.shape[0] != width for layer, width in zip(layers, widths, strict=False)):
            raise ValueError("its layers' sizes do not fit together")
        if not all(0 < width <= MAX_WIDTH for width in widths):
            raise ValueError(f"a layer is wider than {MAX_WIDTH}, or empty")
        activation: Activation = self._activations[0] if self._activations else "relu"
        spec = ModelSpec(inputs=widths[0], outputs=widths[-1], hidden=tuple(widths[1:-1]), activation=activation)
        flat: Vector = np.concatenate([part.reshape(-1) for layer in layers for part in layer]).astype(np.float32)
        model = Model(spec=spec, loss=self._loss, weights=flat, standardiser=self._standardiser(widths[0]))
        model.check()
        return model

    def _standardiser(self, inputs: int) -> Standardiser | None:
        if self._shift is None and self._scale is None:
            return None
        shift = np.zeros(1) if self._shift is None else self._shift
        scale = np.ones(1) if self._scale is None else self._scale
        shift, scale = (np.broadcast_to(part.reshape(-1), (inputs,)).astype(np.float32) for part in (shift, scale))
        return Standardiser(shift, scale)

    def _row(self, name: str, width: int) -> Array:
        return np.broadcast_to(self._constant(name).reshape(-1), (width,))

    def _other(self, node: Any) -> str:
        return next((str(name) for name in node.input if name != self._value), "")

    def _second(self, node: Any) -> Array:
        if node.input[0] != self._value:
            raise ValueError(f"node {node.name!r}: the constant must come second")
        return self._constant(node.input[1])

    def _constant(self, name: str) -> Array:
        if name not in self._tensors:
            raise ValueError(f"{name!r} is not a constant in the file")
        array: Array = self._onnx.numpy_helper.to_array(self._tensors[name])
        if array.dtype.kind != "f":
            raise ValueError(f"{name!r} holds {array.dtype}, not floating-point numbers")
        return array.astype(np.float64)
