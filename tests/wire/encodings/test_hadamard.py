"""The transform against scipy's matrices, and blocks that pad nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard

from fedloom.wire.encodings.hadamard import BLOCK, block_sizes, blocks, transform


@pytest.mark.parametrize("size", [1, 2, 4, 8, 32, 512, 4096])
def test_it_is_the_product_with_the_matrix(size):
    block = np.random.default_rng(size).normal(size=size).astype(np.float32)
    expected = hadamard(size) @ block.astype(np.float64) / np.sqrt(size)
    transform(block)
    np.testing.assert_allclose(block, expected, atol=2e-5)


def test_it_works_in_place_on_a_part_of_a_vector():
    vector = np.ones(10, np.float32)
    transform(vector[1:5])
    assert vector.tolist() == [1, 2, 0, 0, 0, 1, 1, 1, 1, 1]


@given(st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_twice_is_as_it_was_and_lengths_stay(power, seed):
    original = np.random.default_rng(seed).normal(size=2**power).astype(np.float32)
    block = original.copy()
    transform(block)
    assert np.linalg.norm(block) == pytest.approx(np.linalg.norm(original), rel=1e-5)
    transform(block)
    np.testing.assert_allclose(block, original, atol=1e-5)


@given(st.integers(1, 100_000))
def test_blocks_cover_a_vector_once_and_are_powers_of_two(size):
    sizes = block_sizes(size)
    assert sum(sizes) == size
    assert all(each & (each - 1) == 0 and each <= BLOCK for each in sizes)
    assert sizes == sorted(sizes, reverse=True)
    parts = list(blocks(np.arange(size, dtype=np.float32)))
    assert [len(part) for part in parts] == sizes
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(size))
