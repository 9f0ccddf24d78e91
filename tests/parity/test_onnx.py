"""Exported models run in onnxruntime to 1e-5; models of the same family are read back; others are refused."""

import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fedloom.errors import DataError, FedloomError
from fedloom.learning.initialise import initial_weights
from fedloom.learning.model import Model
from fedloom.learning.onnx_export import export_onnx
from fedloom.learning.onnx_import import import_onnx
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser


def model_for(loss, rng, hidden=(7, 5), activation="relu", standardised=True):
    outputs = 1 if loss == "binary_cross_entropy" else 3
    spec = ModelSpec(inputs=4, outputs=outputs, hidden=hidden, activation=activation)
    scaling = Standardiser(*(rng.random((2, 4)).astype(np.float32) * 50 + 0.5)) if standardised else None
    weights = initial_weights(spec, rng)
    return Model(spec=spec, loss=loss, weights=weights, standardiser=scaling, features=("a", "b", "c", "d"))


def run(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))


@pytest.mark.parametrize("loss", ["mse", "huber", "binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize(("hidden", "activation"), [((), "relu"), ((7,), "tanh"), ((7, 5), "relu")])
@pytest.mark.parametrize("standardised", [True, False])
def test_export_runs_as_the_model_does_and_comes_back(loss, hidden, activation, standardised, rng, tmp_path):
    model = model_for(loss, rng, hidden, activation, standardised)
    path = tmp_path / "model.onnx"
    export_onnx(model, path)
    x = rng.normal(20.0, 50.0, size=(200, 4)).astype(np.float32)
    got = run(path, x)
    if loss in ("mse", "huber"):
        np.testing.assert_allclose(got["values"], model.predict(x), rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_allclose(got["probabilities"], model.outputs(x), rtol=0, atol=1e-5)
        assert got["label"].dtype == np.int64
        assert got["label"].shape == (200,)
        assert (got["label"] == model.predict(x)).mean() > 0.99
    again = import_onnx(path)
    assert again.spec == model.spec
    assert again.loss == ("mse" if loss == "huber" else loss)
    np.testing.assert_array_equal(again.weights, model.weights)
    np.testing.assert_array_equal(again.logits(x), model.logits(x))


def test_names_and_notes_are_in_the_metadata(rng, tmp_path):
    export_onnx(model_for("cross_entropy", rng), tmp_path / "m.onnx")
    notes = {prop.key: prop.value for prop in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert notes["fedloom.features"] == '["a", "b", "c", "d"]'
    assert notes["fedloom.loss"] == "cross_entropy"


def write(path, nodes, constants, outputs=("y",), inputs=("x",)):
    """An ONNX file from nodes and constants."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "D"]) for name in inputs]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "K"]) for name in outputs]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", values, results, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


def numbers(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def test_matmul_add_and_gemm_with_factors_are_understood(tmp_path):
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w0"], ["p"]),
        helper.make_node("Add", ["b0", "p"], ["z"]),
        helper.make_node("Tanh", ["z"], ["a"]),
        helper.make_node("Dropout", ["a"], ["d"]),
        helper.make_node("Gemm", ["d", "w1", "b1"], ["y"], alpha=0.5, beta=2.0, transB=1),
    ]
    constants = {"w0": numbers(4, 6), "b0": numbers(6), "w1": numbers(3, 6), "b1": numbers(3)}
    path = write(tmp_path / "m.onnx", nodes, constants)
    model = import_onnx(path)
    assert model.spec == ModelSpec(inputs=4, outputs=3, hidden=(6,), activation="tanh")
    x = numbers(9, 4)
    np.testing.assert_allclose(model.predict(x), run(path, x)["y"], atol=1e-5)


def test_constants_may_be_nodes(tmp_path):
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(numbers(4, 2)))
    path = write(tmp_path / "m.onnx", [constant, helper.make_node("MatMul", ["x", "w"], ["y"])], {})
    np.testing.assert_allclose(import_onnx(path).predict(numbers(9, 4)), run(path, numbers(9, 4))["y"], atol=1e-5)


def test_what_torch_exports_is_understood(tmp_path, rng):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3), torch.nn.Softmax(1))
    x = rng.normal(size=(9, 4)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own exporter deprecated
        torch.onnx.export(module, (torch.from_numpy(x),), str(tmp_path / "m.onnx"), dynamo=False)
    model = import_onnx(tmp_path / "m.onnx")
    assert model.loss == "cross_entropy"
    with torch.no_grad():
        np.testing.assert_allclose(model.outputs(x), module(torch.from_numpy(x)).numpy(), atol=1e-6)


FIRST = [("MatMul", "x w", "h")]
W, V = {"w": numbers(4, 4)}, {"w": numbers(4, 4), "v": numbers(4, 4)}


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([("MatMul", "x w", "h"), ("Gelu", "h", "y")], W, "Gelu"),
        ([("MatMul", "x w", "h"), ("Sigmoid", "h", "a"), ("MatMul", "a w", "y")], W, "Sigmoid is followed by MatMul"),
        ([("MatMul", "x w", "h"), ("Sigmoid", "h", "y")], W, "4 outputs, but binary"),
        ([("MatMul", "x w", "h"), ("MatMul", "h v", "y")], V, "two layers without an activation"),
        ([("MatMul", "w x", "y")], W, "the constant must be the second factor"),
        ([("MatMul", "x x", "y")], {}, "'x' is not a constant"),
        ([("Relu", "x", "y")], {}, "Relu cannot stand here"),
        ([("MatMul", "x w", "h"), ("Relu", "h", "a"), ("Add", "a h", "y")], W, "'h' is read by 2 nodes"),
        ([("MatMul", "x w", "h"), ("Relu", "h", "y")], W, "1 layers and 1 activations"),
        (
            [*FIRST, ("Relu", "h", "a"), ("MatMul", "a v", "g"), ("Tanh", "g", "b"), ("MatMul", "b w", "y")],
            V,
            "both Relu and Tanh",
        ),
        ([("MatMul", "x w", "h"), ("Relu", "h", "a"), ("MatMul", "a v", "y")], W | {"v": numbers(3, 4)}, "do not fit"),
        ([("MatMul", "x w", "y")], {"w": np.full((4, 4), np.nan, np.float32)}, "not finite"),
        ([("MatMul", "x w", "y")], {"w": numbers(4, 4, 4)}, r"weights of shape \(4, 4, 4\)"),
        ([("Cast", "x", "y")], {}, "cannot stand here|Required attribute"),
    ],
)  # fmt: skip
def test_another_family_is_refused(nodes, constants, message, tmp_path):
    made = [helper.make_node(kind, inputs.split(), [output]) for kind, inputs, output in nodes]
    path = write(tmp_path / "m.onnx", made, constants)
    with pytest.raises(DataError, match=message) as caught:
        import_onnx(path)
    assert "\n" not in str(caught.value)


def test_weights_outside_the_file_are_never_opened(tmp_path):
    path = write(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], W)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(DataError, match="not an ONNX model"):
        import_onnx(path)


def test_noise_and_nothing_are_refused(tmp_path):
    (tmp_path / "noise.onnx").write_bytes(b"\xff\xfe not an onnx file")
    with pytest.raises(DataError, match=r"noise\.onnx: is not an ONNX model that fedloom can start from"):
        import_onnx(tmp_path / "noise.onnx")
    with pytest.raises(DataError, match="cannot be read"):
        import_onnx(tmp_path / "none.onnx")


def test_without_onnx_the_remedy_is_named(monkeypatch, tmp_path, rng):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(FedloomError, match=r"pip install 'fedloom\[onnx\]'"):
        export_onnx(model_for("mse", rng), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
