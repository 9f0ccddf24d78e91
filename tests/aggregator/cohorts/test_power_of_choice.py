"""Candidates by their samples, the worst of them by their loss."""

import numpy as np

from aggregator.cohorts.power_of_choice import PowerOfChoice
from aggregator.cohorts.samples import BySamples
from aggregator.records import Standing

ALL = PowerOfChoice(candidates=1000.0)


def test_of_all_candidates_the_highest_losses(pick, known):
    """Losses 1, 5, 3, 4, 6: the last counts as 5, as the second highest does."""
    ready = [known(number, loss=loss) for number, loss in enumerate((1.0, 5.0, 3.0, 4.0, 6.0))]
    for seed in range(20):
        assert set(pick(ALL, ready, 2, seed=seed)) == {1, 4}
        assert set(pick(ALL, ready, 3, seed=seed)) == {1, 3, 4}


def test_those_that_were_never_asked_come_first(pick, known):
    ready = [known(0, loss=9.0), known(1, loss=8.0), Standing(b"\2"), Standing(b"\3", samples=5)]
    assert all(set(pick(ALL, ready, 2, seed=seed)) == {2, 3} for seed in range(20))


def test_one_candidate_a_place_is_the_draw_by_samples(pick, known):
    ready = [known(number, loss=float(number), samples=number + 1) for number in range(8)]
    for seed in range(20):
        assert sorted(pick(PowerOfChoice(candidates=1.0), ready, 3, seed=seed)) == sorted(
            pick(BySamples(), ready, 3, seed=seed)
        )


def test_how_often_a_device_is_among_two_candidates_of_four(often, known):
    """Equal samples, one place: the k-th lowest loss wins when the other candidate is lower, (k − 1) / 6 of the draws;
    the two highest count alike, so that each has half of the last 5/6."""
    ready = [known(number, loss=float(number)) for number in range(4)]
    drawn = often(PowerOfChoice(candidates=2.0), ready, 1)
    np.testing.assert_allclose([drawn[number] / 2000 for number in range(4)], [0, 1 / 6, 5 / 12, 5 / 12], atol=0.04)
