"""A saved model comes back as it was; its bytes are fixed; anything else is refused with one line."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.errors import DataError
from fedloom.learning.initialise import initial_weights
from fedloom.learning.model import Model
from fedloom.learning.model_file import from_bytes, load, save, to_bytes
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser

GOLDEN = bytes.fromhex(
    # "FEDLOOM", version 1, header of 150 bytes
    "4645444c4f4f4d01" "96000000"
    # {"classes": ["no", "yes"],
    "86" "a7636c6173736573" "92" "a26e6f" "a3796573"
    #  "features": ["x", "y"],
    "a86665617475726573" "92" "a178" "a179"
    #  "loss": "binary_cross_entropy",
    "a46c6f7373" "b462696e6172795f63726f73735f656e74726f7079"
    #  "meta": {"job": "demo"},
    "a46d657461" "81" "a36a6f62" "a464656d6f"
    #  "spec": {"activation": "relu", "dropout": 0.0, "hidden": [],
    "a473706563" "85" "aa61637469766174696f6e" "a472656c75" "a764726f706f7574" "cb0000000000000000"
    "a668696464656e" "90"
    #           "inputs": 2, "outputs": 1},
    "a6696e70757473" "02" "a76f757470757473" "01"
    #  "standardised": true}
    "ac7374616e6461726469736564" "c3"
    # weights 0.5, -1, bias 0.25; shift 1, 2; scale 1, 4
    "0000003f" "000080bf" "0000803e" "0000803f" "00000040" "0000803f" "00008040"
)  # fmt: skip


def golden_model():
    return Model(
        spec=ModelSpec(inputs=2, outputs=1),
        loss="binary_cross_entropy",
        weights=np.array([0.5, -1.0, 0.25], np.float32),
        standardiser=Standardiser(np.array([1, 2], np.float32), np.array([1, 4], np.float32)),
        classes=("no", "yes"),
        features=("x", "y"),
        meta={"job": "demo"},
    )


def same(one, other):
    assert (one.spec, one.loss, one.classes, one.features, one.meta) == (
        (other.spec, other.loss, other.classes, other.features, other.meta)
    )
    np.testing.assert_array_equal(one.weights, other.weights)
    assert (one.standardiser is None) == (other.standardiser is None)
    for mine, theirs in zip(one.standardiser or (), other.standardiser or (), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def resealed(content):
    return content + hashlib.sha256(content).digest()


def test_the_bytes_of_version_1_are_fixed():
    assert to_bytes(golden_model()) == resealed(GOLDEN)
    same(from_bytes(resealed(GOLDEN), "golden"), golden_model())


@given(
    st.integers(1, 5),
    st.lists(st.integers(1, 4), max_size=3),
    st.booleans(),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_whatever_is_saved_comes_back(inputs, hidden, standardised, meta):
    spec = ModelSpec(inputs=inputs, outputs=2, hidden=tuple(hidden), activation="tanh", dropout=0.25)
    rng = np.random.default_rng(0)
    scaling = Standardiser(*(rng.random((2, inputs)).astype(np.float32) + 0.5)) if standardised else None
    names = tuple(f"f{number}" for number in range(inputs))
    weights = initial_weights(spec, rng)
    model = Model(spec=spec, loss="mse", weights=weights, standardiser=scaling, features=names, meta=meta)
    same(from_bytes(to_bytes(model), "memory"), model)


def test_save_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "model.fedloom"
    path.write_bytes(b"old")
    save(golden_model(), path)
    same(load(path), golden_model())
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.fedloom"]


def test_every_flipped_byte_is_noticed():
    sound = to_bytes(golden_model())
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 0x20
        with pytest.raises(DataError, match=r"^x\.fedloom: is not a sound fedloom model: "):
            from_bytes(bytes(damaged), "x.fedloom")


@given(st.binary(max_size=200))
def test_noise_with_a_right_hash_is_refused(noise):
    with pytest.raises(DataError):
        from_bytes(resealed(GOLDEN[:8] + noise), "noise")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin like one"),
        (resealed(b"FEDLOOM\x02" + GOLDEN[8:]), "version is 2, this fedloom reads 1"),
        (resealed(GOLDEN[:-4]), "as many numbers as its header says"),
        (resealed(GOLDEN + b"\0\0\0\0"), "as many numbers as its header says"),
        (resealed(GOLDEN[:-4] + b"\0\0\x80\xbf"), "a scale that is not positive"),
        (resealed(GOLDEN[:-28] + b"\0\0\xc0\x7f" + GOLDEN[-24:]), "weights are not finite"),
        (resealed(GOLDEN[:8] + b"\xff\xff\xff\xff" + GOLDEN[12:]), "header is longer"),
        (resealed(GOLDEN.replace(b"demo", b"\xff\xfe\xfd\xfc")), "utf-8"),
        (resealed(GOLDEN.replace(b"\xa4relu", b"\xa4sine")), "Invalid enum value"),
        (resealed(GOLDEN.replace(b"\x92\xa2no\xa3yes", b"\x91\xa6no/yes")), "1 classes for loss"),
    ],
)
def test_what_is_wrong_is_named(data, message):
    with pytest.raises(DataError, match=message):
        from_bytes(data, "x.fedloom")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"none\.fedloom: cannot be read \(No such file or directory\); check the path"):
        load(tmp_path / "none.fedloom")


def test_a_file_beyond_the_bound_is_not_read(tmp_path, monkeypatch):
    save(golden_model(), tmp_path / "m")
    monkeypatch.setattr("fedloom.learning.model_file.MAX_FILE_BYTES", 100)
    with pytest.raises(DataError, match="bytes, more than 100; use a smaller model"):
        load(tmp_path / "m")


def test_a_model_whose_parts_do_not_fit_is_not_written(tmp_path):
    wrong = Model(spec=ModelSpec(inputs=2, outputs=1), loss="mse", weights=np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"float32 of shape \(4,\), not float32 of \(3,\)"):
        save(wrong, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_prediction_standardises_and_names_the_class():
    model = golden_model()
    x = np.array([[1.0, 2.0], [1.0, 6.0], [3.0, 2.0]], np.float32)
    logits = [0.25, -0.75, 1.25]
    np.testing.assert_allclose(model.logits(x)[:, 0], logits)
    np.testing.assert_allclose(model.outputs(x)[:, 0], 1 / (1 + np.exp(-np.array(logits))), rtol=1e-6)
    np.testing.assert_array_equal(model.predict(x), [1, 0, 1])
    with pytest.raises(ValueError, match=r"shape \(3,\) for a model with 2 inputs"):
        model.predict(np.zeros(3, np.float32))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"loss": "binary_cross_entropy"}, "2 outputs, but binary_cross_entropy has 1"),
        ({"loss": "mse", "classes": ("a", "b")}, "2 classes for loss mse"),
        ({"features": ("a",)}, "1 feature names for 3 inputs"),
        ({"standardiser": Standardiser(np.zeros(2, np.float32), np.ones(2, np.float32))}, "standardiser has 2"),
        ({"weights": np.zeros(8)}, "weights are float64"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, message):
    sound = {"spec": ModelSpec(inputs=3, outputs=2), "loss": "cross_entropy", "weights": np.zeros(8, np.float32)}
    with pytest.raises(ValueError, match=message):
        Model(**(sound | parts)).check()
