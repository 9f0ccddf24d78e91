"""What arrives of simulated updates is what arrives of real ones, to the bit."""

import numpy as np
import pytest
from federations import job
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedloom.compression import Encoding
from fedloom.learning.layout import Vector
from fedloom.wire.encoding import decode, encode
from simulation.cohort.rounding import ROUNDED
from simulation.cohort.sending import Sending, sound

PURPOSE = b"fedloom/1/encoding"
SHAPES = [(3, 5), (2, 1024), (4, 2500), (1, 1), (2, 1025)]


def sending(encoding: Encoding, clients: int) -> Sending:
    update = {"encoding": encoding} | ({"share": 0.1} if encoding == "topk" else {})
    return Sending(job(update=update), 1, np.arange(clients))


def arrived(vector: Vector, encoding: Encoding) -> Vector:
    rules = job(update={"encoding": encoding} | ({"share": 0.1} if encoding == "topk" else {})).update
    out = np.empty_like(vector)
    decode(encode(vector, encoding, rules.options), encoding, out)
    return out


@pytest.mark.parametrize("encoding", ROUNDED)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e-38, 1e30])
def test_many_at_once_are_one_by_one(encoding: Encoding, shape: tuple[int, int], scale: float) -> None:
    vectors = (np.random.default_rng(2).normal(size=shape) * scale).astype(np.float32)
    vectors[0, 0] = 0.0
    expected = np.stack([arrived(each, encoding) for each in vectors])
    assert not sending(encoding, len(vectors)).exchange(vectors, np.arange(len(vectors)), PURPOSE)
    assert vectors.tobytes() == expected.tobytes()


@given(arrays.arrays(np.float32, (2, 37), elements=st.floats(-1e6, 1e6, width=32)), st.sampled_from(list(ROUNDED)))
def test_any_numbers_are_as_one_by_one(vectors: Vector, encoding: Encoding) -> None:
    expected = np.stack([arrived(each, encoding) for each in vectors])
    sending(encoding, 2).exchange(vectors, np.arange(2), PURPOSE)
    if encoding == "topk":  # of equal magnitudes any may be sent, here as there
        assert np.array_equal(np.sort(np.abs(vectors)), np.sort(np.abs(expected)))
    else:
        np.testing.assert_array_equal(vectors, expected)


@pytest.mark.parametrize("encoding", ["float16", "int8", "int4", "sign", "topk", "eden"])
def test_what_is_not_finite_is_refused_and_the_rest_is_not(encoding: Encoding) -> None:
    vectors = np.ones((3, 40), np.float32)
    vectors[1] = np.nan
    vectors[2] = np.inf
    refused = sending(encoding, 3).exchange(vectors, np.array([0, 1]), PURPOSE)
    assert list(refused) == [1]
    assert "cannot be encoded" in refused[1]
    assert np.isfinite(vectors[0]).all()
    assert np.isinf(vectors[2]).all()  # it has declined: nobody looks at it


@pytest.mark.parametrize("encoding", ["int8", "eden", "topk"])
def test_what_is_lost_is_in_the_next_update(encoding: Encoding) -> None:
    meant = np.random.default_rng(3).normal(size=(3, 50)).astype(np.float32)
    deltas, residuals = meant.copy(), np.zeros_like(meant)
    refused, lost = sending(encoding, 3).with_feedback(deltas, np.array([0, 2]), residuals)
    assert not refused
    np.testing.assert_allclose((deltas + lost)[[0, 2]], meant[[0, 2]], atol=1e-6)
    assert np.array_equal(deltas[1], meant[1])
    assert not lost[1].any()
    assert not residuals.any()


@pytest.mark.parametrize("encoding", ["int8", "eden"])
def test_an_update_that_cannot_be_sent_leaves_what_was_lost_before(encoding: Encoding) -> None:
    deltas, residuals = np.full((2, 50), 2e38, np.float32), np.full((2, 50), 2e38, np.float32)
    residuals[0] = 1.0
    deltas[0] = 1.0
    refused, lost = sending(encoding, 2).with_feedback(deltas, np.array([0, 1]), residuals)
    assert list(refused) == [1]
    assert np.array_equal(lost[1], residuals[1])
    assert np.isfinite(lost).all()


def test_only_finite_updates_within_the_norm_are_sound() -> None:
    rows = np.array([[3.0, 4.0], [3.0, 4.01], [np.nan, 0.0], [np.inf, 0.0], [3e38, 3e38]], np.float32)
    assert sound(rows, 5.0).tolist() == [True, False, False, False, False]
    assert sound(rows, 1e200).tolist() == [True, True, False, False, True]
