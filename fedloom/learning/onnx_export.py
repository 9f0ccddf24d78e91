"""Writes a model as ONNX, normalisation and head included: raw features in, predictions out.

Input `features` (N, d) float32. Outputs: classification `label` (N,) int64 and `probabilities` (N, k), k = 1 in the
binary case; regression `values` (N, k). Names and notes go into the metadata under `fedloom.*`.
"""

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from fedloom.errors import FedloomError
from fedloom.files import write_durably
from fedloom.learning.layout import Array
from fedloom.learning.model import Model

if TYPE_CHECKING:
    import onnx

OPSET = 13
"""Old enough for every runtime in the field; the first whose Softmax takes a plain axis."""
IR_VERSION = 7


def export_onnx(model: Model, path: Path) -> None:
    """Write the model, all or nothing.

    Raises:
        ValueError: the model's parts do not fit together.
        FedloomError: onnx is not installed.
    """
    write_durably(path, to_onnx(model).SerializeToString(), mode=0o644)


def to_onnx(model: Model) -> "onnx.ModelProto":
    """The checked ONNX model."""
    model.check()
    onnx = need_onnx()
    graph = _Graph(onnx)
    value = _normalise(graph, model, "features")
    value = _layers(graph, model, value)
    outputs = _head(graph, model, value)
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    features = helper.make_tensor_value_info("features", floats, ["N", model.spec.inputs])
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "fedloom", [features], outputs, graph.initialisers),
        producer_name="fedloom",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(proto, _notes(model))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def need_onnx() -> Any:  # the module, whose types are not published
    """The onnx package.

    Raises:
        FedloomError: it is not installed.
    """
    try:
        return importlib.import_module("onnx")
    except ImportError:
        raise FedloomError("onnx is not installed: run pip install 'fedloom[onnx]'") from None


class _Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []

    def constant(self, name: str, array: Array) -> str:
        self.initialisers.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: int) -> str:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


def _normalise(graph: _Graph, model: Model, value: str) -> str:
    if model.standardiser is None:
        return value
    shift, scale = model.standardiser
    value = graph.node("Sub", [value, graph.constant("shift", shift)], "shifted")
    return graph.node("Div", [value, graph.constant("scale", scale)], "standardised")


def _layers(graph: _Graph, model: Model, value: str) -> str:
    tensors = model.spec.layout().views(model.weights)
    for number, (weight, bias) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
        names = [graph.constant(f"{number}.weight", weight), graph.constant(f"{number}.bias", bias)]
        is_last = number == len(model.spec.hidden)
        name = ("logits" if model.loss.endswith("cross_entropy") else "values") if is_last else f"{number}.z"
        value = graph.node("Gemm", [value, *names], name)
        if not is_last:
            value = graph.node("Relu" if model.spec.activation == "relu" else "Tanh", [value], f"{number}.a")
    return value


def _head(graph: _Graph, model: Model, value: str) -> "list[onnx.ValueInfoProto]":
    """Label and probabilities of a classifier. A binary label is 1 where the logit is positive."""
    onnx = graph.onnx
    width = model.spec.outputs
    floats, integers = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    if model.loss == "cross_entropy":
        graph.node("Softmax", [value], "probabilities", axis=1)
        graph.node("ArgMax", [value], "label", axis=1, keepdims=0)
    elif model.loss == "binary_cross_entropy":
        graph.node("Sigmoid", [value], "probabilities")
        zero = graph.constant("zero", np.zeros(1, np.float32))
        positive = graph.node("Greater", [value, zero], "is_positive")
        column = graph.node("Cast", [positive], "label_column", to=integers)
        graph.node("Reshape", [column, graph.constant("vector", np.array([-1], np.int64))], "label")
    else:
        return [onnx.helper.make_tensor_value_info("values", floats, ["N", width])]
    return [
        onnx.helper.make_tensor_value_info("label", integers, ["N"]),
        onnx.helper.make_tensor_value_info("probabilities", floats, ["N", width]),
    ]


def _notes(model: Model) -> dict[str, str]:
    notes = {
        "fedloom.loss": model.loss,
        "fedloom.spec": msgspec.json.encode(model.spec).decode(),
        "fedloom.classes": json.dumps(model.classes),
        "fedloom.features": json.dumps(model.features),
    }
    return notes | {f"fedloom.meta.{key}": value for key, value in model.meta.items()}
