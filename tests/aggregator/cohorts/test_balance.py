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


def qcid(rows):
    """(…,) by the paper's definition, of samples by class (…, B)."""
    shares = rows / rows.sum(axis=-1, keepdims=True)
    return np.square(shares - 1 / rows.shape[-1]).sum(axis=-1)


def test_the_definition_by_hand():
    """Shares 1, 0 and ½, ½ and ¾, ¼ are ½ off, not at all, and 2 · (¼)²."""
    np.testing.assert_allclose(qcid(np.array([[4.0, 0.0], [1.0, 1.0], [3.0, 1.0]])), [0.5, 0.0, 0.125])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e9])
def test_imbalance_is_that_of_the_definition(scale):
    rng = np.random.default_rng(3)
    rows, total = scale * rng.exponential(size=(50, 10)), 20 * scale * rng.exponential(size=10)
    facts = np.vstack([rows.T, rows.sum(axis=1), np.square(rows).sum(axis=1)])
    np.testing.assert_allclose(imbalance(total, facts), qcid(total + rows), rtol=0, atol=1e-14)
    np.testing.assert_allclose(imbalance(0 * total, facts), qcid(rows), rtol=0, atol=1e-14)


def test_the_last_device_is_drawn_by_the_power_of_what_it_makes_of_the_cohort(known):
    classes = ((9, 1, 0), (2, 5, 3), (0, 1, 4), (3, 3, 3))
    ready = [known(number, samples=10, class_counts=counts) for number, counts in enumerate(classes)]
    rows = samples_by_class(ready)
    expected = np.zeros((4, 4))
    for first in range(4):
        others = np.delete(np.arange(4), first)
        powers = (qcid(rows[first] + rows[others]) + 1e-6) ** -1.5
        expected[first, others] = powers / powers.sum() / 4
    rule, seen = ClassBalance(sharpness=1.5), np.zeros((4, 4))
    for seed in range(6000):
        seen[tuple(rule.pick(ready, 2, 1, np.random.default_rng(seed)))] += 1 / 6000
    np.testing.assert_allclose(seen, expected, atol=0.02)


@pytest.mark.filterwarnings("error")
def test_a_sharp_draw_of_a_whole_fleet_takes_everybody(known):
    """The even ones outweigh the others by more than float32 holds, and are gone first."""
    ready = [known(number, class_counts=(5, 5) if number % 2 else (10, 0)) for number in range(200)]
    for sharpness in (0.0, 100.0):
        picked = ClassBalance(sharpness=sharpness).pick(ready, 200, 1, np.random.default_rng(4))
        assert sorted(picked) == list(range(200))


def test_the_papers_example(pick, example):
    """Whoever begins without the second device ends even: half of all pairs do."""
    cohorts = Counter(frozenset(pick(ClassBalance(), example, 3, seed=seed)) for seed in range(500))
    assert 200 < cohorts[frozenset({0, 2, 3})] < 300
    assert cohorts[frozenset({0, 1, 3})] + cohorts[frozenset({1, 2, 3})] < 5


def test_cohorts_are_more_even_than_uniform_ones(pick, known):
    """Ten classes, one a device; the first four classes have most of the fleet."""
    classes = [number % 4 for number in range(24)] + list(range(4, 10))
    ready = [known(number, class_counts=tuple(10 * (np.arange(10) == each))) for number, each in enumerate(classes)]
    rows = samples_by_class(ready)
    shuffled = np.random.default_rng(1).permuted(np.tile(np.arange(30), (200, 1)), axis=1)[:, :6]
    balanced = [pick(ClassBalance(), ready, 6, seed=seed) for seed in range(200)]
    even, uniform = (
        np.mean([qcid(rows[each].sum(axis=0)) for each in cohorts]) for cohorts in (balanced, shuffled.tolist())
    )
    assert even < 0.75 * uniform


def test_each_device_begins_as_often_as_any(often, example):
    drawn = often(ClassBalance(), example, 1)
    np.testing.assert_allclose([drawn[number] / 2000 for number in range(4)], 0.25, atol=0.04)


def test_who_has_evaluated_nothing_counts_as_the_mix_of_the_others(known):
    ready = [known(0, class_counts=(4, 0)), known(1, class_counts=(0, 8)), known(2), known(3, class_counts=(0, 0))]
    np.testing.assert_array_equal(samples_by_class(ready), [[10, 0], [0, 10], [5, 5], [5, 5]])
    assert samples_by_class([known(0), known(1)]).shape == (2, 1)
