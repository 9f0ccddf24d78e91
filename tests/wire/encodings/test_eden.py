"""EDEN: the centroids are Lloyd's, the error and the bias are those of the paper, and the wire holds what it says."""

import math
from hashlib import shake_128
from statistics import NormalDist

import numpy as np
import pytest
from scipy.linalg import hadamard

from fedloom.compression import EncodingOptions
from fedloom.errors import Reason, Refused
from fedloom.wire.encoding import decode, encode
from fedloom.wire.encodings import eden

NORMAL = NormalDist()
NMSE = {1: math.pi / 2 - 1, 2: 0.1331, 3: 0.03578, 4: 0.00959}
"""1 / (1 − D) − 1, with D the distortion of the best quantiser of a normal variable (Max 1960, table I); the first is
DRIVE's (arXiv:2105.08339, theorem 2)."""


def through(vector, bits, seed=1):
    out = np.empty_like(vector)
    decode(encode(vector, "eden", EncodingOptions(bits), seed), "eden", out)
    return out


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_each_centroid_is_the_mean_of_what_is_rounded_to_it(bits):
    """Lloyd's condition, which holds for the best quantiser alone: the normal density is log-concave."""
    quantiser = eden._QUANTISERS[bits]
    edges = [-math.inf, *map(float, quantiser.edges), math.inf]
    density = [0.0, *(NORMAL.pdf(edge) for edge in edges[1:-1]), 0.0]
    for number, centroid in enumerate(quantiser.centroids):
        mass = NORMAL.cdf(edges[number + 1]) - NORMAL.cdf(edges[number])
        assert centroid == pytest.approx((density[number] - density[number + 1]) / mass, abs=2e-7)


@pytest.mark.parametrize(("bits", "expected"), NMSE.items())
@pytest.mark.parametrize("kind", ["normal", "lognormal"])
def test_the_error_is_that_of_the_paper_whatever_the_distribution(bits, expected, kind):
    vector = getattr(np.random.default_rng(5), kind)(size=64 * 4096).astype(np.float32)
    error = np.sum((through(vector, bits) - vector) ** 2, dtype=np.float64) / np.sum(vector**2, dtype=np.float64)
    assert error == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("bits", [1, 2])
def test_the_mean_over_rotations_is_the_vector(bits):
    """The mean of n rotations has 1/n of the error of one: nothing of it is bias."""
    vector = np.random.default_rng(2).lognormal(size=1024).astype(np.float32)
    count = 400
    mean = np.mean([through(vector, bits, seed) for seed in range(count)], axis=0)
    error = np.sum((mean - vector) ** 2) / np.sum(vector**2)
    assert error == pytest.approx(NMSE[bits] / count, rel=0.25)


def test_one_bit_is_drive():
    """x̂ = S · R⁻¹ sign(R x) with S = ‖x‖² / ‖R x‖₁ (arXiv:2105.08339, algorithm 1), by dense matrices."""
    vector, seed = np.random.default_rng(3).normal(size=256).astype(np.float32), 77
    stream = shake_128(b"fedloom/1/eden" + seed.to_bytes(4, "little")).digest(32)
    rotation = hadamard(256) / 16 * (1 - 2.0 * np.unpackbits(np.frombuffer(stream, np.uint8)))
    rotated = rotation @ vector
    scale = vector @ vector / np.abs(rotated).sum()
    np.testing.assert_allclose(through(vector, 1, seed), scale * rotation.T @ np.sign(rotated), atol=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_one_weight_alone_is_exact_but_for_rounding(bits):
    """All coordinates of a rotated unit vector have one magnitude."""
    vector = np.zeros(5000, np.float32)
    vector[1234] = -3.5
    np.testing.assert_allclose(through(vector, bits), vector, rtol=1e-6)
    assert np.count_nonzero(through(vector, bits)) == 1


def test_each_seed_is_another_rotation_and_the_same_seed_the_same_bytes():
    vector = np.random.default_rng(4).normal(size=100).astype(np.float32)
    options = EncodingOptions(1)
    assert encode(vector, "eden", options, 1) == encode(vector, "eden", options, 1 + 2**32)
    assert not np.array_equal(through(vector, 1, 1), through(vector, 1, 2))


def test_other_bits_than_there_are_are_refused_by_both_ends():
    vector = np.ones(8, np.float32)
    with pytest.raises(ValueError, match="5 bits"):
        encode(vector, "eden", EncodingOptions(5))
    data = bytearray(encode(vector, "eden", EncodingOptions(1)))
    for bits in (0, 5, 255):
        data[0] = bits
        with pytest.raises(Refused) as refusal:
            decode(data, "eden", vector)
        assert refusal.value.reason is Reason.MALFORMED


def test_the_bits_that_the_message_names_must_fit_its_length():
    data = bytearray(encode(np.ones(8, np.float32), "eden", EncodingOptions(1)))
    data[0] = 2
    with pytest.raises(Refused) as refusal:
        decode(data, "eden", np.empty(8, np.float32))
    assert refusal.value.reason is Reason.WRONG_LENGTH
