"""Every encoding with error feedback, as a device does it: all that was meant is sent in the end."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.compression import options_of
from fedloom.errors import Refused
from fedloom.wire.encoding import CODES, decode, encode

KINDS = [
    *((name, options_of(name)) for name in CODES if name != "float32"),
    ("eden", options_of("eden", bits=4)),
    ("topk", options_of("topk", share=0.2)),
]
kinds = pytest.mark.parametrize(("name", "options"), KINDS)


@kinds
@settings(max_examples=20)
@given(size=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_what_was_sent_and_what_is_left_are_what_was_meant(name, options, size, seed):
    """In every round; and what is left stays bounded, however long it goes on: so the mean of what was sent becomes
    the mean of what was meant."""
    rng = np.random.default_rng(seed)
    residual, sent_in_all, meant_in_all = np.zeros(size, np.float32), np.zeros(size), np.zeros(size)
    direction, largest = rng.normal(size=size), 0.0
    for number in range(60):
        delta = (direction + 0.1 * rng.normal(size=size)).astype(np.float32)
        largest = max(largest, float(np.linalg.norm(delta)))
        sent = np.empty_like(delta)
        decode(encode(delta + residual, name, options, seed + number), name, sent)
        residual = delta + residual - sent
        sent_in_all += sent
        meant_in_all += delta
        np.testing.assert_allclose(sent_in_all + residual, meant_in_all, atol=1e-3)
    # top-k leaves most weights alone for about p/k rounds, eden's error may be as large as the vector, and with signs
    # all residuals grow until their mean magnitude is what the largest weight needs
    bound = 2.0 / options.share if options.share else 12.0 if name == "sign" else 5.0
    assert np.linalg.norm(residual) <= bound * largest


@kinds
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1023, 1025, 4097])
def test_zeros_and_numbers_near_zero_come_out_near_zero(name, options, size):
    out = np.empty(size, np.float32)
    decode(encode(np.zeros(size, np.float32), name, options), name, out)
    assert not out.any()
    for tiny in (1e-45, 1e-40, 1.2e-38):
        decode(encode(np.full(size, tiny, np.float32), name, options), name, out)
        assert np.abs(out).max() <= 1e-36


@kinds
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, 1024, 4099])
def test_what_is_not_finite_is_refused_wherever_it_is(name, options, poison, position):
    if name == "float16" and np.isinf(poison):
        pytest.skip("saturates")
    vector = np.ones(4100, np.float32)
    vector[position] = poison
    with pytest.raises(Refused, match="non_finite"):
        decode(encode(vector, name, options), name, np.empty_like(vector))


@kinds
@settings(max_examples=150)
@given(data=st.data(), size=st.integers(1, 70))
def test_damage_gives_a_finite_vector_or_a_refusal(name, options, data, size):
    blob = bytearray(encode(np.linspace(-1, 1, size, dtype=np.float32), name, options))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    out = np.empty(size, np.float32)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # as in admission
            decode(blob, name, out)
    except Refused:
        return
    assert np.isfinite(out).all()


@pytest.mark.parametrize(("name", "options"), [*KINDS, ("topk", options_of("topk", share=1.0))])
def test_decoding_takes_memory_for_a_few_vectors_at_most(name, options):
    size = 200_000
    vector, out = np.linspace(-1, 1, size, dtype=np.float32), np.empty(size, np.float32)
    data = encode(vector, name, options)
    tracemalloc.start()
    try:
        decode(data, name, out)
        assert tracemalloc.get_traced_memory()[1] <= 7 * out.nbytes
    finally:
        tracemalloc.stop()


@kinds
def test_the_vector_is_not_touched(name, options):
    vector = np.linspace(-1, 1, 5000, dtype=np.float32)
    vector.flags.writeable = False
    encode(vector, name, options)
