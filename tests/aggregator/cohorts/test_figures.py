"""Claims are bounded, gaps are filled, draws have the odds that they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.cohorts.figures import capped, draw, mean_losses, sample_counts
from aggregator.cohorts.samples import BySamples
from aggregator.records import Standing

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([5.0], [5.0]),
        ([NAN], [NAN]),
        ([1.0, 9.0], [1.0, 1.0]),
        ([9.0, 1.0, 2.0], [2.0, 1.0, 2.0]),
        ([9.0, NAN, 2.0, 1.0], [2.0, NAN, 2.0, 1.0]),
        (list(range(40)), [*range(38), 37, 37]),  # ⌈0.95 · 40⌉ = the 38th
    ],
)
def test_no_claim_counts_for_more_than_the_quantile_or_the_second_highest(values, expected):
    np.testing.assert_array_equal(capped(np.array(values, np.float64)), expected)


@given(st.lists(st.floats(0.0, 100.0), min_size=2, max_size=30), st.floats(0.0, 1e300))
def test_what_one_liar_claims_is_at_most_what_an_honest_device_says(values, claim):
    assert capped(np.array([*values, claim]))[-1] <= max(values)


def test_who_has_not_told_counts_as_the_median():
    ready = [Standing(bytes([number]), samples) for number, samples in enumerate((2, 0, 4, 6, 8))]
    assert sample_counts(ready).tolist() == [2.0, 5.0, 4.0, 6.0, 6.0]
    assert sample_counts([Standing(b"a"), Standing(b"b")]).tolist() == [1.0, 1.0]


def test_losses_of_those_that_were_never_asked_are_highest_and_of_the_silent_at_most_the_median(known):
    ready = [
        known(0, loss=1.0),
        known(1, loss=2.0),
        known(2, loss=3.0),
        known(3, loss=3.0, asked=5),
        known(4, loss=0.5, asked=5),
        Standing(b"asked in vain", asked=5),
        Standing(b"never asked", samples=3),
    ]
    assert mean_losses(ready).tolist() == [1.0, 2.0, 3.0, 2.0, 0.5, 2.0, float("inf")]


def test_a_draw_has_the_odds_of_its_weights():
    """First of 1, 2, 7: 1/10, 2/10, 7/10. The second given 7 first: 1/3, 2/3."""
    pairs = [tuple(draw(np.array([1.0, 2.0, 7.0]), 2, np.random.default_rng(seed))) for seed in range(4000)]
    first = np.bincount([pair[0] for pair in pairs], minlength=3) / 4000
    np.testing.assert_allclose(first, [0.1, 0.2, 0.7], atol=0.025)
    after = [pair[1] for pair in pairs if pair[0] == 2]
    np.testing.assert_allclose(np.bincount(after) / len(after), [1 / 3, 2 / 3], atol=0.03)


def test_what_weighs_nothing_comes_last_in_its_order():
    assert draw(np.array([0.0, 3.0, 0.0, 1.0]), 4, np.random.default_rng(0))[2:].tolist() == [0, 2]


def test_devices_with_more_samples_are_drawn_more_often(often, known):
    drawn = often(BySamples(), [known(number, samples=samples) for number, samples in enumerate((10, 20, 30, 30))], 1)
    np.testing.assert_allclose([drawn[number] / 2000 for number in range(4)], [1 / 9, 2 / 9, 3 / 9, 3 / 9], atol=0.04)
