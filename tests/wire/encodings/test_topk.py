"""Top-k against a plain reference; the mean magnitude; what no encoder writes is refused before any memory is taken."""

import struct
import tracemalloc

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.compression import EncodingOptions, options_of
from fedloom.errors import Reason, Refused
from fedloom.wire.encoding import decode, encode, encoded_bytes
from fedloom.wire.encodings.sparse import write_indices

shares = st.floats(0.001, 1.0)
vectors = hnp.arrays(np.float32, st.integers(1, 500), elements=st.floats(-1e4, 1e4, width=32), fill=st.just(0.5))


def through(vector, share):
    out = np.full(vector.size, np.nan, np.float32)
    decode(encode(vector, "topk", EncodingOptions(share=share)), "topk", out)
    return out


@given(st.integers(1, 500), shares, st.integers(0, 2**32 - 1))
def test_it_is_what_a_plain_reference_says(size, share, seed):
    vector = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    expected = np.zeros(size)
    largest = np.argsort(-np.abs(vector))[: max(1, int(np.ceil(share * size - 1e-9)))]
    expected[largest] = np.abs(vector[largest]).mean() * np.sign(vector[largest])
    np.testing.assert_allclose(through(vector, share), expected, rtol=1e-6)


@given(vectors, shares)
def test_the_error_is_never_larger_than_the_vector(vector, share):
    """What error feedback needs: ‖x − C(x)‖² ≤ (1 − k/p · (mean² / mean of squares)) · ‖x‖²."""
    exact = vector.astype(np.float64)
    error = np.sum((through(vector, share) - exact) ** 2)
    assert error <= np.sum(exact**2) * (1 + 1e-6) + 1e-80


def test_an_example_by_hand():
    """2 of 8: −4 and 2 at places 1 and 6, so μ = 3. r = 2: low parts 01, 10, high parts 0, 1: bits 0 and 2 of 2 + 1."""
    vector = np.array([0, -4, 1, 0, 0, 0, 2, 0.5], np.float32)
    data = encode(vector, "topk", EncodingOptions(share=0.25))
    assert data == struct.pack("<If", 2, 3.0) + bytes([0b10000000, 0b01000000, 0b10100000, 0b01000000])
    assert through(vector, 0.25).tolist() == [0, -3, 0, 0, 0, 0, 3, 0]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_vectors_send_one_weight(size):
    vector = np.arange(1, size + 1, dtype=np.float32)
    assert through(vector, 0.05).tolist() == [0.0] * (size - 1) + [float(size)]


def test_the_length_does_not_depend_on_the_vector():
    rng, options = np.random.default_rng(1), options_of("topk")
    vectors = (np.zeros(1000), np.ones(1000), rng.normal(size=1000), np.eye(1000)[3])
    assert {len(encode(v.astype(np.float32), "topk", options)) for v in vectors} == {
        encoded_bytes("topk", 1000, options)
    }


@pytest.mark.parametrize("count", [0, 9, 2**31, 2**32 - 1])
def test_a_count_that_cannot_be_is_refused_and_costs_no_memory(count):
    data = struct.pack("<If", count, 1.0) + bytes(100)
    out = np.empty(8, np.float32)
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refusal:
            decode(data, "topk", out)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
    assert refusal.value.reason is Reason.MALFORMED


def test_a_place_that_comes_twice_is_refused():
    places = bytearray(write_indices(np.array([1, 2]), 8))
    places[0], places[1], places[2] = 0b11000000, 0, 0b11000000  # 1 and 1
    data = struct.pack("<If", 2, 1.0) + bytes(places) + b"\0"
    with pytest.raises(Refused, match="twice") as refusal:
        decode(data, "topk", np.empty(8, np.float32))
    assert refusal.value.reason is Reason.MALFORMED
