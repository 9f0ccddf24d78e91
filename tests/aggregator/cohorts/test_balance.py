"""Devices whose classes complete each other."""

from collections import Counter

import numpy as np
import pytest

from aggregator.cohorts.balance import ClassBalance, imbalance, samples_by_class

EXAMPLE = ([5, 5, 5, 5, 5, 5], [6, 6, 6, 6, 6, 0], [0, 0, 0, 10, 10, 10], [10, 10, 10, 0, 0, 0])
"""Figure 3 of the paper: of three, 0, 2 and 3 are exactly even; a greedy choice takes 0, 1 and then either."""


@pytest.fixture
def example(known):
    return [known(number, samples=30, class_counts=tuple(counts)) for number, counts in enumerate(EXAMPLE)]


def test_imbalance_by_hand():
    """Shares 1, 0 and ½, ½ and ¾, ¼ are ½ off, not at all, and 2 · (¼)²."""
    np.testing.assert_allclose(imbalance(np.array([[4.0, 0.0], [1.0, 1.0], [3.0, 1.0]])), [0.5, 0.0, 0.125])


def test_the_papers_example(pick, example):
    """Whoever begins without the second device ends even: half of all pairs do."""
    cohorts = Counter(frozenset(pick(ClassBalance(), example, 3, seed=seed)) for seed in range(500))
    assert cohorts[frozenset({0, 2, 3})] > 200
    assert cohorts.most_common(1)[0][0] == {0, 2, 3}


def test_cohorts_are_more_even_than_uniform_ones(pick, known):
    """Ten classes, one a device; the first four classes have most of the fleet."""
    classes = [number % 4 for number in range(24)] + list(range(4, 10))
    ready = [known(number, class_counts=tuple(10 * (np.arange(10) == each))) for number, each in enumerate(classes)]
    rows = samples_by_class(ready)
    shuffled = np.random.default_rng(1).permuted(np.tile(np.arange(30), (200, 1)), axis=1)[:, :6]
    balanced = [pick(ClassBalance(), ready, 6, seed=seed) for seed in range(200)]
    even, uniform = (
        np.mean([imbalance(rows[each].sum(axis=0, keepdims=True)) for each in cohorts])
        for cohorts in (balanced, shuffled.tolist())
    )
    assert even < 0.75 * uniform


def test_each_device_begins_as_often_as_any(often, example):
    drawn = often(ClassBalance(), example, 1)
    np.testing.assert_allclose([drawn[number] / 2000 for number in range(4)], 0.25, atol=0.04)


def test_who_has_evaluated_nothing_counts_as_the_mix_of_the_others(known):
    ready = [known(0, class_counts=(4, 0)), known(1, class_counts=(0, 8)), known(2), known(3, class_counts=(0, 0))]
    np.testing.assert_array_equal(samples_by_class(ready), [[10, 0], [0, 10], [5, 5], [5, 5]])
    assert samples_by_class([known(0), known(1)]).shape == (2, 1)
