"""Encodings: exact lengths, bounded error, nothing but finite values comes out."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.compression import options_of
from fedloom.errors import Reason, Refused
from fedloom.wire.encoding import CODES, NAMES, decode, encode, encoded_bytes
from fedloom.wire.encodings.scales import BLOCK

finite = hnp.arrays(
    np.float32, st.integers(1, 3000), elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=True), fill=st.just(0.5)
)
encodings = st.sampled_from(sorted(CODES))


def through(vector, encoding):
    out = np.full(vector.size, np.nan, np.float32)
    options = options_of(encoding)
    data = encode(vector, encoding, options)
    assert len(data) == encoded_bytes(encoding, vector.size, options)
    decode(data, encoding, out)
    return out


@given(finite)
def test_float32_is_exact(vector):
    np.testing.assert_array_equal(through(vector, "float32"), vector)


@given(finite)
def test_float16_is_within_half_a_unit_in_the_last_place(vector):
    np.testing.assert_allclose(through(vector, "float16"), vector, rtol=2**-11, atol=2**-25)


@given(finite)
def test_int8_is_within_half_a_step_of_its_block(vector):
    error = np.abs(through(vector, "int8") - vector)
    for start in range(0, vector.size, BLOCK):
        step = np.abs(vector[start : start + BLOCK]).max() / 127
        assert error[start : start + BLOCK].max() <= 0.5001 * step + 1e-36


def test_float16_saturates_instead_of_overflowing():
    assert through(np.array([1e30, -1e30], np.float32), "float16").tolist() == [65504.0, -65504.0]


@given(finite, encodings, st.integers(-3, 3).filter(bool))
def test_any_other_length_is_refused(vector, encoding, change):
    data = encode(vector, encoding, options_of(encoding))
    data = data[:change] if change < 0 else data + bytes(change)
    with pytest.raises(Refused) as refusal:
        decode(data, encoding, np.empty_like(vector))
    assert refusal.value.reason is Reason.WRONG_LENGTH


@pytest.mark.parametrize(
    ("encoding", "poison"),
    [("float32", np.nan), ("float32", np.inf), ("float16", np.nan), ("int8", np.nan), ("int8", -np.inf)],
)
@pytest.mark.parametrize("position", [0, 1023, 1024, 1499])
def test_not_finite_is_refused_wherever_it_is(encoding, poison, position):
    vector = np.ones(1500, np.float32)
    vector[position] = poison
    with pytest.raises(Refused) as refusal:
        decode(encode(vector, encoding), encoding, np.empty_like(vector))
    assert refusal.value.reason is Reason.NON_FINITE


def test_infinite_float16_bytes_are_refused():
    data = np.array([1, np.inf], "<f2").tobytes()
    with pytest.raises(Refused, match="non_finite"):
        decode(data, "float16", np.empty(2, np.float32))


def test_infinities_that_cancel_are_refused():
    data = np.array([np.inf, -np.inf], "<f4").tobytes()
    with pytest.raises(Refused, match="non_finite"):
        decode(data, "float32", np.empty(2, np.float32))


@given(st.binary(max_size=400), encodings, st.integers(1, 300))
def test_any_bytes_give_a_finite_vector_or_a_refusal(data, encoding, size):
    out = np.empty(size, np.float32)
    try:
        decode(data, encoding, out)
    except Refused:
        return
    assert np.isfinite(out).all()


@given(st.integers(0, 2**32 - 1))
def test_error_feedback_keeps_the_sum_true(seed):
    """What int8 loses in one round comes in the next: the total sent stays within one step of the total meant."""
    rng = np.random.default_rng(seed)
    residual, sent, meant = np.zeros(50, np.float32), np.zeros(50), np.zeros(50)
    for _ in range(20):
        delta = rng.normal(size=50).astype(np.float32)
        out = through(delta + residual, "int8")
        residual = delta + residual - out
        sent += out
        meant += delta
    np.testing.assert_allclose(sent + residual, meant, atol=1e-4)
    assert np.abs(residual).max() < 0.05


def test_codes_are_fixed_for_ever():
    assert CODES == {"float32": 1, "float16": 2, "int8": 3, "eden": 4, "topk": 5, "int4": 6, "sign": 7}
    assert {NAMES[code]: code for code in NAMES} == CODES
    assert encode(np.array([1, -2], np.float32), "float32").hex() == "0000803f000000c0"
    assert encode(np.array([1, -2], np.float32), "float16").hex() == "003c00c0"
    # one bit, seed 7, whose SHAKE-128 begins with two zeros; S = 5 / (0.798 · 4/√2) of −1/√2 and 3/√2; their signs
    assert encode(np.array([1, -2], np.float32), "eden", options_of("eden"), 7).hex() == "0107000000dacb0d4040"
    # one weight: its magnitude; its place 1 is the low bit 1 and the high part 0; its sign
    assert encode(np.array([1, -2], np.float32), "topk", options_of("topk")).hex() == "0100000000000040" + "8080" + "00"
    # one block: scale 2/127 as float32, then 64 (63.5 rounds to even) and -127
    assert encode(np.array([1, -2], np.float32), "int8").hex() == "0402813c" + "40" + "81"
    # one block: scale 1, then 10 and 0 in four planes
    assert encode(np.array([3, -7], np.float32), "int4").hex() == "0000803f" + "00" + "80" + "00" + "80"
    # one block: the mean magnitude, then + and −
    assert encode(np.array([1, -3], np.float32), "sign").hex() == "00000040" + "80"
